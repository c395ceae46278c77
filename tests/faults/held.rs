//! What a process holds of memory, threads and descriptors, as Linux tells it.

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub kilobytes: u64,
    pub threads: u64,
    pub descriptors: u64,
}

pub fn held(pid: u32) -> Held {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of its status");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    };
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count() as u64;
    Held { kilobytes: number("VmRSS:"), threads: number("Threads:"), descriptors }
}
