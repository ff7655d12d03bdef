//! Child processes: every program that a test starts ends with the test, whether it passes or
//! panics.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use resumen::process::Clock;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper,
    waitpgid, waitpid,
};

use super::wait::WAIT_LIMIT;

/// Maximum run time of a test that runs in a child process.
const CHILD_TEST_LIMIT: Duration = Duration::from_secs(300);

/// The variable by which the guard finds processes that have left their group. Its value is a path:
/// the processes of a test in a child process also carry the marker of that child.
const MARKER_VARIABLE: &str = "TEST_PROCESS_GROUP";

/// A child process that leads a process group. Dropping the guard kills the group and every other
/// descendant, and waits until no process is left.
pub struct ProcessGroup {
    leader: Child,
    marker: String,
}

impl ProcessGroup {
    pub fn spawn(command: &mut Command) -> Self {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let number = COUNTER.fetch_add(1, Relaxed);
        let parent = std::env::var_os(MARKER_VARIABLE).unwrap_or_default();
        let marker = format!("{}/{}-{number}", parent.display(), std::process::id());
        // A worker whose master dies becomes a child of this process, and `drop` can wait for it.
        set_child_subreaper(Some(getpid())).unwrap();
        let leader = command
            .env(MARKER_VARIABLE, &marker)
            .process_group(0)
            .spawn();
        let leader = leader.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { leader, marker }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.leader)
    }

    /// Sends a signal to the leader alone.
    pub fn send_signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub fn has_exited(&mut self) -> bool {
        self.leader.try_wait().unwrap().is_some()
    }

    /// All running descendants, by their marker.
    fn descendants(&self) -> Vec<Pid> {
        let marker = format!("{MARKER_VARIABLE}={}", self.marker);
        let has_marker = |pid: &Pid| {
            let path = format!("/proc/{}/environ", pid.as_raw_nonzero());
            let environment = std::fs::read(path).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| {
                let rest = variable.strip_prefix(marker.as_bytes());
                rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            })
        };
        let names = std::fs::read_dir("/proc")
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let pids = names.filter_map(|name| Pid::from_raw(name.to_str()?.parse().ok()?));
        pids.filter(has_marker).collect()
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let group = self.pid();
        let descendants = self.descendants();
        // Fails if every process of the group has ended.
        let _ = kill_process_group(group, Signal::KILL);
        for pid in &descendants {
            let _ = kill_process(*pid, Signal::KILL);
        }
        let _ = self.leader.wait();
        let clock = Clock::start();
        let end = clock.instant() + WAIT_LIMIT;
        let is_gone = || {
            let reap = |pid: &Pid| !matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None));
            let is_reaped = descendants.iter().all(reap);
            let is_empty = matches!(waitpgid(group, WaitOptions::NOHANG), Err(Errno::CHILD));
            is_reaped && is_empty && self.descendants().is_empty()
        };
        while !is_gone() {
            // A second panic would abort the process before the other guards are dropped.
            let is_late = clock.instant() > end && !std::thread::panicking();
            assert!(
                !is_late,
                "left of group {group:?}: {:?}",
                self.descendants()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A running program whose output the test reads by lines.
pub struct TestProcess {
    group: ProcessGroup,
    stdout_lines: Receiver<String>,
    stderr_lines: Receiver<String>,
}

/// The output of a program that has ended, as far as the test had not read it.
#[derive(Debug)]
pub struct ProcessOutput {
    /// `None` if a signal ended the program.
    pub exit_code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// `resumen` with these arguments. The environment has no `RESUMEN_*` variable but `variables`.
pub fn program_command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resumen"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RESUMEN_") || name == "NO_COLOR" {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied());
    command.stdin(Stdio::null());
    command
}

/// The command as the last arguments of another program: `faketime -f +1h COMMAND`.
pub fn command_through(starter: &[&str], command: &Command) -> Command {
    let [program, options @ ..] = starter else {
        panic!("no program")
    };
    let mut whole = Command::new(program);
    whole
        .args(options)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => whole.env(name, value),
            None => whole.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        whole.current_dir(folder);
    }
    whole.stdin(Stdio::null());
    whole
}

/// Runs `resumen` to its end.
pub fn run_program(arguments: &[&str], variables: &[(&str, &str)]) -> ProcessOutput {
    TestProcess::start(&mut program_command(arguments, variables)).wait_for_exit()
}

/// This test binary with one of its ignored tests.
pub fn ignored_test_command(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", test]);
    command
}

/// Runs a command of `ignored_test_command` and returns its output. Panics unless the test passed.
pub fn run_ignored_test(command: &mut Command) -> String {
    let output = TestProcess::start(command).wait_for_exit_within(CHILD_TEST_LIMIT);
    let text = output.stdout + &output.stderr;
    assert!(
        output.exit_code == Some(0) && text.contains("1 passed"),
        "{text}"
    );
    text
}

impl TestProcess {
    pub fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = ProcessGroup::spawn(command);
        let stdout_lines = spawn_line_reader(group.leader.stdout.take().unwrap());
        let stderr_lines = spawn_line_reader(group.leader.stderr.take().unwrap());
        Self {
            group,
            stdout_lines,
            stderr_lines,
        }
    }

    pub fn pid(&self) -> u32 {
        self.group.leader.id()
    }

    /// The next line of standard output that contains `needle`. Panics if none comes in time.
    pub fn wait_for_stdout_line(&self, needle: &str) -> String {
        find_line(&self.stdout_lines, needle).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, with an error that holds the lines before the program ended or the limit passed.
    pub fn try_wait_for_stdout_line(&self, needle: &str) -> Result<String, String> {
        find_line(&self.stdout_lines, needle)
    }

    /// The next line of standard error that contains `needle`. Panics if none comes in time.
    pub fn wait_for_stderr_line(&self, needle: &str) -> String {
        find_line(&self.stderr_lines, needle).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn send_signal(&self, signal: Signal) {
        self.group.send_signal(signal);
    }

    /// Sends the signal repeatedly until standard error has a line that contains `needle`.
    pub fn signal_until_line(&self, signal: Signal, needle: &str) {
        for _ in 0..WAIT_LIMIT.as_millis() / 100 {
            self.send_signal(signal);
            match self.stderr_lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line.contains(needle) => return,
                _ => {}
            }
        }
        panic!("no line with {needle:?}");
    }

    pub fn wait_for_exit(self) -> ProcessOutput {
        self.wait_for_exit_within(WAIT_LIMIT)
    }

    fn wait_for_exit_within(mut self, limit: Duration) -> ProcessOutput {
        let stdout = remaining_output(&self.stdout_lines, limit);
        let stderr = remaining_output(&self.stderr_lines, limit);
        ProcessOutput {
            exit_code: self.group.leader.wait().unwrap().code(),
            stdout,
            stderr,
        }
    }
}

/// `http://127.0.0.1:1234` in a line that a program printed.
pub fn base_url(line: &str) -> String {
    let url = &line[line.find("http://").expect("a URL")..];
    let end = url.find(|c: char| c.is_whitespace() || c == '\'');
    url[..end.unwrap_or(url.len())]
        .trim_end_matches('/')
        .to_owned()
}

fn spawn_line_reader(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from
            .read_until(b'\n', &mut line)
            .is_ok_and(|count| count > 0)
        {
            // The program blocks on a full pipe, so lines are read even if the test has gone.
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
    });
    receiver
}

fn find_line(lines: &Receiver<String>, needle: &str) -> Result<String, String> {
    let mut seen = String::new();
    loop {
        match lines.recv_timeout(WAIT_LIMIT) {
            Ok(line) if line.contains(needle) => return Ok(line),
            Ok(line) => seen.push_str(&line),
            Err(error) => return Err(format!("no line with {needle:?} ({error}) in:\n{seen}")),
        }
    }
}

fn remaining_output(lines: &Receiver<String>, limit: Duration) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(limit) {
            Ok(line) => text.push_str(&line),
            Err(RecvTimeoutError::Disconnected) => return text,
            Err(error) => panic!("the program does not end ({error}); it printed:\n{text}"),
        }
    }
}

#[test]
fn dropped_process_ends_its_group() {
    for panics in [false, true] {
        let mut pids: Vec<u32> = Vec::new();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut command = Command::new("sh");
            // The second background process leaves the group.
            let script = "sleep 1000 & echo $!; setsid sh -c 'echo $$; exec sleep 1000' & wait";
            command.args(["-c", script]);
            let shell = TestProcess::start(&mut command);
            let next_pid = || shell.wait_for_stdout_line("").trim().parse().unwrap();
            pids = vec![shell.pid(), next_pid(), next_pid()];
            assert!(!panics, "a test fails while its processes run");
        }));
        assert_eq!((ended.is_err(), pids.len()), (panics, 3));
        for pid in pids {
            let is_left = std::path::Path::new(&format!("/proc/{pid}")).exists();
            assert!(!is_left, "process {pid} is left");
        }
    }
}
