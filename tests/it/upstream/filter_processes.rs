//! Filter workers as processes: what they inherit, when they end, and what they leave behind.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use resumen::domain::{Code, Redactor};
use resumen::extract::{Extractor, Filter};
use resumen::process::Clock;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::child_process::{TestProcess, program_command};
use crate::support::fake_provider::FakeProvider;
use crate::support::http_reply::http_get;
use crate::support::memory_group::MemoryGroup;
use crate::support::scripted_fetch::test_name;

/// How long a test waits for what takes milliseconds on an idle machine.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let clock = Clock::start();
    let by = clock.instant() + WAIT_LIMIT;
    while !condition() {
        assert!(clock.instant() < by, "{what} never came");
        sleep(Duration::from_millis(20));
    }
}

/// The process ids of the filter workers of the process `parent`.
pub fn workers_of(parent: u32) -> Vec<u32> {
    let mut workers = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(arguments) = fs::read_to_string(entry.path().join("cmdline")) else {
            continue;
        };
        let mut arguments = arguments.split('\0').skip(1);
        if arguments.next() == Some("__filters")
            && arguments.next() == Some(parent.to_string().as_str())
        {
            workers.push(pid);
        }
    }
    workers
}

/// Starts `program serve` with these sources: name, provider, filter.
fn start_service(
    program: Command,
    interval: &str,
    sources: &[(&str, &FakeProvider, &str)],
    folder: &Path,
) -> (TestProcess, String) {
    let mut config = String::from("[store]\npath = \"\"\n");
    write!(
        config,
        "[defaults]\ninterval = \"{interval}\"\ntimeout = \"{interval}\"\n"
    )
    .unwrap();
    for (name, provider, filter) in sources {
        write!(
            config,
            "[sources.{name}]\nurl = \"{}\"\nextract = '{filter}'\n",
            provider.url()
        )
        .unwrap();
    }
    let path = folder.join("resumen.toml");
    fs::write(&path, config).unwrap();
    let mut command = program;
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]);
    command.arg(&path);
    let service = TestProcess::start(&mut command);
    let line = service.wait_for_stderr_line("listening");
    let address = line.split("address=").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap();
    (service, format!("http://{address}"))
}

fn own_command() -> Command {
    program_command(&[], &[])
}

fn source_of(base: &str, name: &str) -> serde_json::Value {
    let reply = http_get(base, "/resumen");
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap_or_default();
    body["resultados"][name].clone()
}

#[test]
fn killed_service_leaves_no_worker() {
    let provider = FakeProvider::with_json("{\"n\":1}");
    let folder = tempfile::tempdir().unwrap();
    let (service, _) = start_service(
        own_command(),
        "2s",
        &[("a", &provider, "def f: f; f")],
        folder.path(),
    );
    wait_until("a worker", || !workers_of(service.pid()).is_empty());
    let pid = service.pid();
    service.send_signal(Signal::KILL);
    drop(service);
    // The attempt's 2 s and 2 s of processor time; other tests share the processors.
    wait_until("the end of the workers", || workers_of(pid).is_empty());
}

#[test]
fn replaced_program_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("resumen");
    fs::copy(env!("CARGO_BIN_EXE_resumen"), &program).unwrap();
    let provider = FakeProvider::with_json("{\"n\":1}");
    let mut command = Command::new(&program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let sources = [
        ("good", &provider, "{n: (.n + 1)}"),
        ("bad", &provider, "\"a\" * 1000000000"),
    ];
    let (service, base) = start_service(command, "2s", &sources, folder.path());
    let other = folder.path().join("other");
    fs::write(&other, "#!/bin/sh\nexit 3\n").unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&other, &program).unwrap();
    for pid in workers_of(service.pid()) {
        let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
    }
    // Each attempt of the bad source ends its worker, so each needs a new one.
    let calls = provider.call_count();
    wait_until("more attempts", || provider.call_count() > calls + 6);
    let bad = source_of(&base, "bad").to_string();
    assert!(bad.contains("MiB of memory"), "{bad}");
    let good = source_of(&base, "good");
    assert_eq!(good["data"]["n"], 2, "{good}");
    assert_eq!(good["error"], serde_json::Value::Null, "{good}");
}

#[test]
fn worker_inherits_nothing() {
    let provider = FakeProvider::with_json("{\"n\":1}");
    let folder = tempfile::tempdir().unwrap();
    // A shell hands descriptors 7 and 9 on to the service.
    let mut command = Command::new("sh");
    let script = format!(
        "exec 7</dev/null 9</etc/passwd; exec '{}' \"$@\"",
        env!("CARGO_BIN_EXE_resumen")
    );
    command
        .args(["-c", &script, "sh"])
        .env("SECRET", "visible")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (service, base) = start_service(
        command,
        "2s",
        &[("a", &provider, "{n: (.n + 1)}")],
        folder.path(),
    );
    wait_until("a reading", || source_of(&base, "a")["data"]["n"] == 2);
    let workers = workers_of(service.pid());
    assert!(!workers.is_empty());
    for pid in workers {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let descriptors = fs::read_dir(process.join("fd")).unwrap();
        let descriptors: BTreeSet<String> = descriptors
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(descriptors, ["0", "1", "2", "3"].map(str::to_owned).into());
        for number in ["0", "3"] {
            let target = fs::read_link(process.join("fd").join(number)).unwrap();
            assert!(
                target.to_string_lossy().starts_with("socket:"),
                "{target:?}"
            );
        }
        assert_eq!(fs::read(process.join("environ")).unwrap(), b"");
        assert_eq!(fs::read_link(process.join("cwd")).unwrap(), Path::new("/"));
        let limits = fs::read_to_string(process.join("limits")).unwrap();
        for (limit, value) in [
            ("Max open files", "4"),
            ("Max core file size", "0"),
            ("Max file size", "0"),
        ] {
            let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
            let soft = line[limit.len()..].split_whitespace().next().unwrap();
            assert_eq!(soft, value, "{line}");
        }
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max address space"))
            .unwrap();
        assert!(
            !line["Max address space".len()..]
                .trim_start()
                .starts_with("unlimited"),
            "{line}"
        );
    }
}

#[test]
fn low_hard_limits_are_kept_below() {
    let provider = FakeProvider::with_json("{\"n\":1}");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("prlimit");
    command
        .args([
            "--stack=8388608:8388608",
            "--core=0:0",
            "--nofile=256:256",
            "--cpu=600:600",
            "--",
        ])
        .arg(env!("CARGO_BIN_EXE_resumen"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let sources = [
        ("good", &provider, "{n: (.n + 1)}"),
        ("bad", &provider, "def f: 1 + f; f"),
    ];
    let (_service, base) = start_service(command, "2s", &sources, folder.path());
    wait_until("a reading", || source_of(&base, "good")["data"]["n"] == 2);
    wait_until("a failure", || {
        source_of(&base, "bad")["code"] == "extract_failed"
    });
}

/// Skips the test where `strace` is missing or not permitted.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn is_strace_available() -> bool {
    let probe = Command::new("strace")
        .args(["-qq", "-e", "inject=all:error=EIO:when=60000", "true"])
        .output();
    let works = probe.is_ok_and(|output| output.status.success());
    let required = std::env::var_os("RESUMEN_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(works || !required, "strace is missing or not permitted");
    if !works {
        eprintln!("skipped: strace is missing or not permitted");
    }
    works
}

#[test]
fn refused_limit_means_no_worker() {
    if !is_strace_available() {
        return;
    }
    let start = |injection: &[&str]| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new("strace");
        // With -D the worker is the child and strace the grandchild.
        command.args(["-D", "-qq", "-o", "/dev/null", "-e", "trace=prlimit64"]);
        command.args(injection).arg(env!("CARGO_BIN_EXE_resumen"));
        command.args(["__filters", &std::process::id().to_string()]);
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
        command.stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        drop(ours);
        child.wait().unwrap()
    };
    assert!(start(&[]).success());
    for first in 1..=6 {
        let injection = format!("inject=prlimit64:error=EPERM:when={first}+");
        assert!(!start(&["-e", &injection]).success(), "{injection}");
    }
}

#[test]
fn service_without_workers_refuses_to_start() {
    if !is_strace_available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("resumen.toml");
    let text = "[store]\npath = \"\"\n[sources.a]\nurl = \"http://127.0.0.1:9/\"\n";
    fs::write(&config, text).unwrap();
    let mut command = Command::new("strace");
    // What a security profile that forbids to execute does.
    command
        .args(["-f", "-qq", "-o", "/dev/null", "-P", "/proc/self/exe"])
        .args(["-e", "trace=execve", "-e", "inject=execve:error=EACCES"])
        .arg(env!("CARGO_BIN_EXE_resumen"))
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = TestProcess::start(&mut command).wait_for_exit();
    assert_eq!(output.exit_code, Some(1), "{output:?}");
    assert!(
        output.stderr.contains("no filter can be evaluated")
            && output.stderr.contains("Permission denied"),
        "{output:?}"
    );
}

/// A worker that is stopped by a signal to the whole process group is replaced, and the evaluation repeated once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_worker_is_replaced_once() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let program = folder.path().join("program");
    let script = format!(
        "#!/bin/sh\necho $$ >> '{}'\nexec '{}' \"$@\"\n",
        pids.display(),
        env!("CARGO_BIN_EXE_resumen")
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let extractor = Extractor::new(program, Redactor::default());
    let stop_workers = async |count: usize| {
        for number in 0..count {
            let pid = loop {
                let text = fs::read_to_string(&pids).unwrap_or_default();
                match text.lines().nth(number).and_then(|line| line.parse().ok()) {
                    Some(pid) => break pid,
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            tokio::time::sleep(Duration::from_millis(300)).await;
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM);
        }
    };
    let filter = Filter::compile("reduce range(300000) as $i (0; . + 1)").unwrap();
    let deadline = Clock::start().deadline(WAIT_LIMIT);
    let source = test_name("a");
    let evaluation = extractor.extract(&source, &filter, "1".into(), deadline);
    let (result, ()) = tokio::join!(evaluation, stop_workers(1));
    assert_eq!(result.unwrap().as_json(), "300000");
    fs::remove_file(&pids).unwrap();
    let filter = Filter::compile("def f: f; f").unwrap();
    let extractor = Extractor::new(folder.path().join("program"), Redactor::default());
    let evaluation = extractor.extract(&source, &filter, "1".into(), deadline);
    let (result, ()) = tokio::join!(evaluation, stop_workers(2));
    assert_eq!(result.unwrap_err().code, Code::ExtractFailed);
}

/// Ends this many workers in every way and counts the remaining resources. Runs in a separate process, started by
/// `deaths_of_workers_leave_nothing`; alone it is the long run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "10,000 deaths take minutes"]
async fn many_deaths_of_workers() {
    let deaths = std::env::var_os("RESUMEN_TEST_DEATHS");
    let deaths = deaths.map_or(10_000, |text| text.to_str().unwrap().parse().unwrap());
    let extractor = Extractor::new(env!("CARGO_BIN_EXE_resumen").into(), Redactor::default());
    let clock = Clock::start();
    let source = test_name("a");
    let evaluate = async |filter: &str, limit| {
        let filter = Filter::compile(filter).unwrap();
        extractor
            .extract(&source, &filter, "1".into(), clock.deadline(limit))
            .await
    };
    let measure = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let kib = |name| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<usize>()
                .unwrap()
        };
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
        (
            descriptors,
            kib("VmRSS"),
            workers_of(std::process::id()).len(),
        )
    };
    let die = async |rounds: usize| {
        for round in 0..rounds {
            let (filter, limit) = match round % 10 {
                0 => ("def f: f; f", Duration::from_millis(50)),
                1 => ("def f: 1 + f; f", WAIT_LIMIT),
                _ => ("\"a\" * 1000000000", WAIT_LIMIT),
            };
            evaluate(filter, limit).await.unwrap_err();
        }
        assert_eq!(evaluate(". + 1", WAIT_LIMIT).await.unwrap().as_json(), "2");
    };
    die(50).await;
    let before = measure();
    die(deaths).await;
    let after = measure();
    println!("{deaths} deaths: (descriptors, KiB resident, workers) {before:?}, then {after:?}");
    assert!(after.0 <= before.0 + 2, "descriptors: {before:?} {after:?}");
    assert!(
        after.1 <= before.1 + 8 * 1024,
        "memory: {before:?} {after:?}"
    );
    assert!(after.2 <= 3, "workers: {before:?} {after:?}");
}

#[test]
fn deaths_of_workers_leave_nothing() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "upstream::filter_processes::many_deaths_of_workers",
            "--ignored",
        ])
        .env("RESUMEN_TEST_DEATHS", "300")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

/// The service in a memory limit of 128 MiB, as in the compose file.
#[test]
fn small_container_survives_hostile_bodies() {
    let Some(group) = MemoryGroup::with_limit(128 << 20) else {
        return;
    };
    let large = FakeProvider::with_json(&format!("[{}{{}}]", "{},".repeat(340_000)));
    let good = FakeProvider::with_json("{\"n\":1}");
    let folder = tempfile::tempdir().unwrap();
    let command = group.command(Path::new(env!("CARGO_BIN_EXE_resumen")));
    let sources = [
        ("good", &good, "{n: (.n + 1)}"),
        ("bad0", &large, "map(. + {b: 1}) | length"),
        ("bad1", &large, "[.[] | tostring] | add | length"),
        ("bad2", &large, "[range(1e9)]"),
        ("bad3", &large, "def f: [f]; f"),
    ];
    let (service, base) = start_service(command, "5s", &sources, folder.path());
    wait_until("attempts", || {
        large.call_count() >= 8 && source_of(&base, "good")["data"]["n"] == 2
    });
    for number in 0..4 {
        wait_until("a failure", || {
            let code = source_of(&base, &format!("bad{number}"))["code"].clone();
            code == "extract_failed" || code == "extract_timeout"
        });
    }
    assert_eq!(http_get(&base, "/resumen").status, 200);
    drop(service);
}
