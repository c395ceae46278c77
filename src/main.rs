//! The `tillflow` program.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Memory comes and goes with every epoch. The kernel clears what it gives anew, and with huge pages most of what it
    // clears is never used: a start from a checkpoint took a tenth longer with them, its time in the kernel twice as much.
    // Without the right to do so, nothing else changes.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    tillflow::cli::main()
}
