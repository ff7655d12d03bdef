//! The configuration and its secrets mounted as Kubernetes does it: folders of links behind a link that is swapped.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::Signal;

use crate::program::{Program, command, get};
use crate::support::crowd::Crowd;
use crate::support::stub::Stub;
use crate::survival::{address, listens, until};

/// A volume: `names` are links into `..data`, which is a link to one of its versions.
struct Volume<'f> {
    root: &'f Path,
    versions: usize,
}

impl<'f> Volume<'f> {
    fn mount(root: &'f Path, files: &[(&str, &str)]) -> Self {
        fs::create_dir(root).unwrap();
        let mut volume = Self { root, versions: 0 };
        volume.swap(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), root.join(name)).unwrap();
        }
        volume
    }

    /// All files at once are others; the version before is gone.
    fn swap(&mut self, files: &[(&str, &str)]) {
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

fn text(sources: &[&str]) -> String {
    let one = |name: &&str| {
        format!("[sources.{name}]\nurl = \"${{file:../secret/url}}\"\nmin_interval = \"1ms\"\n")
    };
    let sources: String = sources.iter().map(one).collect();
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"\"\n[defaults]\ninterval = \"1h\"\n{sources}"
    )
}

fn serve(folder: &Path) -> (Program, String) {
    let arguments = ["serve", "--config", "config/resumen.toml"];
    let program = Program::start(command(&arguments, &[]).current_dir(folder));
    let base = listens(&program);
    (program, base)
}

#[test]
fn a_swapped_secret_is_taken_over_without_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Stub::json("1"), Stub::json("2"));
    let (config, secret) = (folder.path().join("config"), folder.path().join("secret"));
    Volume::mount(&config, &[("resumen.toml", &text(&["a"]))]);
    let mut secret = Volume::mount(&secret, &[("url", &format!("{}\n", old.url()))]);
    let (program, base) = serve(folder.path());
    assert!(get(&base, "/resumen").body.contains("\"data\":1"));
    secret.swap(&[("url", "half an address")]);
    program.err_line("the configuration was refused");
    assert!(
        get(&base, "/metrics")
            .body
            .contains("resumen_config_last_reload_successful 0")
    );
    secret.swap(&[("url", &new.url())]);
    program.err_line("the configuration was taken over");
    until(|| get(&base, "/resumen").body.contains("\"data\":2"));
    assert!(
        get(&base, "/metrics")
            .body
            .contains("resumen_config_last_reload_successful 1")
    );
}

#[test]
fn a_storm_of_swaps_and_signals_ends_with_the_last_file_and_fails_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let stub = Stub::json("1");
    let (config, secret) = (folder.path().join("config"), folder.path().join("secret"));
    let mut config = Volume::mount(&config, &[("resumen.toml", &text(&["a"]))]);
    Volume::mount(&secret, &[("url", &stub.url())]);
    let (program, base) = serve(folder.path());
    get(&base, "/resumen");
    let crowd = Crowd::new(2, address(&base), "/resumen", true);
    for n in 0..100 {
        let name = format!("s{n}");
        let text = if n % 2 == 0 {
            text(&["a", &name])
        } else {
            text(&["a", &name])[..90].to_owned()
        };
        config.swap(&[("resumen.toml", &text)]);
        program.signal(Signal::HUP);
    }
    config.swap(&[("resumen.toml", &text(&["a", "last"]))]);
    until(|| {
        get(&base, "/resumen")
            .body
            .contains("\"last\":{\"ok\":true")
    });
    crowd.done().unwrap();
    program.signal(Signal::HUP);
    program.signal(Signal::TERM);
    program.signal(Signal::HUP);
    let ended = program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}
