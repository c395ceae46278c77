//! A program that is measured from its start to its end: time, CPU and peak memory.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a child is looked at: its peak memory may be missed by what it allocates in so long at its end.
const LOOK: Duration = Duration::from_millis(5);

/// What one or several processes took together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// From the start of the first to the end of the last.
    pub time: Duration,
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Resident bytes at their highest, summed over the processes.
    pub memory: u64,
}

/// Runs programs side by side to their ends, which have to be good ones.
pub fn run(commands: Vec<Command>) -> Taken {
    let begun = Instant::now();
    let mut running: Vec<(Child, Taken)> =
        commands.into_iter().map(|command| (start(command), Taken::default())).collect();
    let mut left = running.len();
    while left > 0 {
        std::thread::sleep(LOOK);
        for (child, taken) in running.iter_mut().filter(|(_, taken)| taken.time.is_zero()) {
            taken.memory = taken.memory.max(peak(child.id()));
            if let Some(cpu) = cpu_of_the_dead(child.id()) {
                (taken.cpu, taken.time) = (cpu, begun.elapsed());
                left -= 1;
            }
        }
    }
    let mut sum = Taken::default();
    for (child, taken) in running {
        let ended = child.wait_with_output().expect("a child that has ended");
        assert!(ended.status.success(), "{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
        sum.time = sum.time.max(taken.time);
        sum.cpu += taken.cpu;
        sum.memory += taken.memory;
    }
    sum
}

/// Starts a program; what it says is kept for its end.
pub fn start(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// `VmHWM` of /proc/PID/status, in bytes; 0 where it is not known any more.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// What a process has used that has ended and was not waited for yet.
fn cpu_of_the_dead(process: u32) -> Option<Duration> {
    let stat =
        std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a child is in /proc until it is waited for");
    let (state, cpu) = state_and_cpu(&stat);
    (state == "Z").then_some(cpu)
}

/// What all threads of this process have used; nothing where it cannot be known.
pub fn own_cpu() -> Duration {
    state_and_cpu(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default()).1
}

/// The 3rd field of /proc/PID/stat, and the sum of the 14th and 15th: user and system time in hundredths of a second. They
/// are counted from behind the name, which may hold anything.
fn state_and_cpu(stat: &str) -> (&str, Duration) {
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let state = fields.next().unwrap_or_default();
    let ticks = fields.skip(10).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
    (state, Duration::from_millis(ticks * 10))
}
