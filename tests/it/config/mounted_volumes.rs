//! A configuration and its secrets in Kubernetes volumes: files are symbolic links into a folder that
//! is replaced as a whole.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::Signal;

use crate::support::child_process::program_command;
use crate::support::fake_provider::FakeProvider;
use crate::support::polling_clients::PollingClients;
use crate::support::service_process::ServiceProcess;
use crate::support::wait::wait_until;

/// A volume. Its files are links into `..data`, which is a link to the current version.
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

    /// Replaces all files at once and removes the version before.
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
        // Fails for the first version.
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

fn serve(folder: &Path) -> ServiceProcess {
    let arguments = ["serve", "--config", "config/resumen.toml"];
    ServiceProcess::start(program_command(&arguments, &[]).current_dir(folder))
}

#[test]
fn swapped_secret_reloads_without_signal() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (FakeProvider::with_json("1"), FakeProvider::with_json("2"));
    let (config, secret) = (folder.path().join("config"), folder.path().join("secret"));
    MountedVolume::mount(&config, &[("resumen.toml", &config_text(&["a"]))]);
    let mut secret = MountedVolume::mount(&secret, &[("url", &format!("{}\n", old.url()))]);
    let service = serve(folder.path());
    assert!(service.get("/resumen").body.contains("\"data\":1"));
    secret.swap_files(&[("url", "half an address")]);
    service.wait_for_log("configuration reload failed");
    assert_eq!(
        service.metric("resumen_config_last_reload_successful") as u8,
        0
    );
    secret.swap_files(&[("url", &new.url())]);
    service.wait_for_log("configuration reloaded");
    wait_until("the new value", || {
        service.get("/resumen").body.contains("\"data\":2")
    });
    assert_eq!(
        service.metric("resumen_config_last_reload_successful") as u8,
        1
    );
}

#[test]
fn last_swapped_file_wins() {
    let folder = tempfile::tempdir().unwrap();
    let provider = FakeProvider::with_json("1");
    let (config, secret) = (folder.path().join("config"), folder.path().join("secret"));
    let mut config = MountedVolume::mount(&config, &[("resumen.toml", &config_text(&["a"]))]);
    MountedVolume::mount(&secret, &[("url", &provider.url())]);
    let service = serve(folder.path());
    service.get("/resumen");
    let clients = PollingClients::new(2, service.address(), "/resumen", true);
    for n in 0..100 {
        let name = format!("s{n}");
        let text = if n % 2 == 0 {
            config_text(&["a", &name])
        } else {
            config_text(&["a", &name])[..90].to_owned()
        };
        config.swap_files(&[("resumen.toml", &text)]);
        service.send_signal(Signal::HUP);
    }
    config.swap_files(&[("resumen.toml", &config_text(&["a", "last"]))]);
    wait_until("the last source", || {
        service
            .get("/resumen")
            .body
            .contains("\"last\":{\"ok\":true")
    });
    clients.stop_and_count().unwrap();
    service.send_signal(Signal::HUP);
    service.send_signal(Signal::TERM);
    service.send_signal(Signal::HUP);
    let output = service.process.wait_for_exit();
    assert_eq!(output.exit_code, Some(0), "{}", output.stderr);
}
