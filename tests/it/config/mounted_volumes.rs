//! The configuration and its secrets mounted as Kubernetes does it: folders of links behind a link that is swapped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::Signal;

use crate::persistence::restart_survival::{listening_url, socket_address, wait_until};
use crate::support::child_process::{TestProcess, http_get, program_command};
use crate::support::fake_provider::FakeProvider;
use crate::support::polling_clients::PollingClients;

/// A volume: `names` are links into `..data`, which is a link to one of its versions.
struct MountedVolume<'f> {
    root: &'f Path,
    versions: usize,
}

impl<'f> MountedVolume<'f> {
    fn mount(root: &'f Path, files: &[(&str, &str)]) -> Self {
        fs::create_dir(root).unwrap();
        let mut volume = Self { root, versions: 0 };
        volume.swap_files(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), root.join(name)).unwrap();
        }
        volume
    }

    /// All files at once are others; the version before is gone.
    fn swap_files(&mut self, files: &[(&str, &str)]) {
        let version = |n: usize| format!("..2026_11_{n}");
        self.versions += 1;
        let new = self.root.join(version(self.versions));
        fs::create_dir(&new).unwrap();
        for (name, text) in files {
            fs::write(new.join(name), text).unwrap();
        }
        let draft = self.root.join("..data_tmp");
        symlink(version(self.versions), &draft).unwrap();
        fs::rename(draft, self.root.join("..data")).unwrap();
        // The first has none before it.
        let _ = fs::remove_dir_all(self.root.join(version(self.versions - 1)));
    }
}

fn config_text(sources: &[&str]) -> String {
    let one = |name: &&str| {
        format!("[sources.{name}]\nurl = \"${{file:../secret/url}}\"\nmin_interval = \"1ms\"\n")
    };
    let sources: String = sources.iter().map(one).collect();
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"\"\n[defaults]\ninterval = \"1h\"\n{sources}"
    )
}

fn start_process(folder: &Path) -> (TestProcess, String) {
    let arguments = ["serve", "--config", "config/resumen.toml"];
    let program = TestProcess::start(program_command(&arguments, &[]).current_dir(folder));
    let base = listening_url(&program);
    (program, base)
}

#[test]
fn swapped_secret_reloads_without_signal() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (FakeProvider::with_json("1"), FakeProvider::with_json("2"));
    let (config, secret) = (folder.path().join("config"), folder.path().join("secret"));
    MountedVolume::mount(&config, &[("resumen.toml", &config_text(&["a"]))]);
    let mut secret = MountedVolume::mount(&secret, &[("url", &format!("{}\n", old.url()))]);
    let (program, base) = start_process(folder.path());
    assert!(http_get(&base, "/resumen").body.contains("\"data\":1"));
    secret.swap_files(&[("url", "half an address")]);
    program.wait_for_stderr_line("the configuration was refused");
    assert!(
        http_get(&base, "/metrics")
            .body
            .contains("resumen_config_last_reload_successful 0")
    );
    secret.swap_files(&[("url", &new.url())]);
    program.wait_for_stderr_line("the configuration was taken over");
    wait_until(|| http_get(&base, "/resumen").body.contains("\"data\":2"));
    assert!(
        http_get(&base, "/metrics")
            .body
            .contains("resumen_config_last_reload_successful 1")
    );
}

#[test]
fn last_swapped_file_wins() {
    let folder = tempfile::tempdir().unwrap();
    let stub = FakeProvider::with_json("1");
    let (config, secret) = (folder.path().join("config"), folder.path().join("secret"));
    let mut config = MountedVolume::mount(&config, &[("resumen.toml", &config_text(&["a"]))]);
    MountedVolume::mount(&secret, &[("url", &stub.url())]);
    let (program, base) = start_process(folder.path());
    http_get(&base, "/resumen");
    let crowd = PollingClients::new(2, socket_address(&base), "/resumen", true);
    for n in 0..100 {
        let name = format!("s{n}");
        let text = if n % 2 == 0 {
            config_text(&["a", &name])
        } else {
            config_text(&["a", &name])[..90].to_owned()
        };
        config.swap_files(&[("resumen.toml", &text)]);
        program.send_signal(Signal::HUP);
    }
    config.swap_files(&[("resumen.toml", &config_text(&["a", "last"]))]);
    wait_until(|| {
        http_get(&base, "/resumen")
            .body
            .contains("\"last\":{\"ok\":true")
    });
    crowd.stop_and_count().unwrap();
    program.send_signal(Signal::HUP);
    program.send_signal(Signal::TERM);
    program.send_signal(Signal::HUP);
    let ended = program.wait_for_exit();
    assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
}
