//! Whether the entries of an intent can be used: names, paths, ports, and what they name in each other.

use super::{Intent, IntentError};

impl Intent {
    /// Whether every entry can be used, and what it names is there.
    ///
    /// # Errors
    /// [`IntentError::Entry`], for the first that cannot.
    pub(super) fn check(&self) -> Result<(), IntentError> {
        let sections: [(&str, Vec<&String>); 7] = [
            ("version", self.version.keys().collect()),
            ("tool", self.tool.keys().collect()),
            ("file", self.file.keys().collect()),
            ("manifest", self.manifest.keys().collect()),
            ("image", self.image.keys().collect()),
            ("wheel", self.wheel.keys().collect()),
            ("app", self.app.keys().collect()),
        ];
        for (section, names) in sections {
            for name in names {
                if !is_name(name) {
                    return Err(IntentError::Entry {
                        entry: format!("{section}.{name}"),
                        problem: "a name is made of lower-case letters, digits, `-`, `_` and `.`".to_owned(),
                    });
                }
            }
        }
        for name in ["os", "arch"] {
            if self.version.contains_key(name) {
                return Err(IntentError::Entry {
                    entry: format!("version.{name}"),
                    problem: format!("`{{{name}}}` already means the platform's word"),
                });
            }
        }
        self.check_members()?;
        self.check_apps()?;
        self.check_profiles()
    }

    fn check_members(&self) -> Result<(), IntentError> {
        let files = self
            .file
            .iter()
            .flat_map(|(name, file)| file.member.values().map(move |path| (format!("file.{name}"), path)));
        let tools = self.tool.iter().filter_map(|(name, tool)| Some((format!("tool.{name}"), tool.member.as_ref()?)));
        for (entry, path) in files.chain(tools) {
            if !is_inside(path) {
                return Err(IntentError::Entry { entry, problem: format!("member `{path}` leaves the archive") });
            }
        }
        Ok(())
    }

    fn check_apps(&self) -> Result<(), IntentError> {
        for (name, app) in &self.app {
            let problem = |problem: String| Err(IntentError::Entry { entry: format!("app.{name}"), problem });
            match app.base.strip_prefix("image.") {
                Some(base) if self.image.contains_key(base) => {}
                _ => return problem(format!("base `{}` is no [image] of this lab", app.base)),
            }
            if let Some(wheel) = app.wheels.iter().find(|wheel| !self.wheel.contains_key(*wheel)) {
                return problem(format!("`{wheel}` is no [wheel] of this lab"));
            }
            if !is_inside(&app.path) {
                return problem(format!("path `{}` leaves the lab's folder", app.path));
            }
            for (from, to) in &app.files {
                if !is_inside(from) {
                    return problem(format!("file `{from}` leaves the app's folder"));
                }
                if !to.strip_prefix('/').is_some_and(is_inside) {
                    return problem(format!("file `{from}` goes to `{to}`, which is no absolute path"));
                }
            }
            // A relative one would depend on the base's.
            if !app.workdir.is_empty() && app.workdir != "/" && !app.workdir.strip_prefix('/').is_some_and(is_inside) {
                return problem(format!("workdir `{}` is no absolute path", app.workdir));
            }
            if let Some(port) = app.ports.iter().find(|port| !is_port(port)) {
                return problem(format!("port `{port}` is not of the form `80/tcp`, `80/udp` or `80/sctp`"));
            }
            if let Some(name) = app.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
                return problem(format!("`{name}` is no name of a variable"));
            }
            if app.labels.keys().any(String::is_empty) {
                return problem("a label has no name".to_owned());
            }
        }
        Ok(())
    }
}

/// Names become TOML keys, file names and arguments: keep them boring.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
}

/// A relative path of plain parts.
fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\\')
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// A port as image configurations have it (image-spec v1.1, config.md, "ExposedPorts"), always with its protocol.
fn is_port(port: &str) -> bool {
    port.split_once('/').is_some_and(|(number, protocol)| {
        number.parse::<u16>().is_ok_and(|number| number > 0) && matches!(protocol, "tcp" | "udp" | "sctp")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An app with one more line.
    fn app(line: &str) -> String {
        format!(
            "[image.b]\nref = \"docker.io/library/b:1\"\n[app.a]\npath = \"app/a\"\nbase = \"image.b\"\n\
             ref = \"docker.io/library/a:1\"\ncommand = [\"a\"]\n{line}"
        )
    }

    #[test]
    fn bad_entries_are_refused() {
        for (text, expected) in [
            ("[file.a]\nurl = \"https://x\"\nmember = { a = \"../a\" }", "leaves the archive"),
            ("[tool.a]\nurl = \"https://x\"\nmember = \"/bin/a\"", "leaves the archive"),
            ("[tool.\"A b\"]\nurl = \"https://x\"", "a name is made of"),
            ("[tool.a]\nurl = \"https://x\"\nsha = \"1\"", "unknown field `sha`"),
            (
                "[app.a]\npath = \"app/a\"\nbase = \"image.b\"\nref = \"docker.io/library/a:1\"\ncommand = [\"a\"]",
                "is no [image] of this lab",
            ),
            (&app("ports = [\"80\"]"), "port `80` is not of the form"),
            (&app("ports = [\"0/tcp\"]"), "port `0/tcp` is not of the form"),
            (&app("ports = [\"65536/tcp\"]"), "port `65536/tcp` is not of the form"),
            (&app("workdir = \"app\""), "workdir `app` is no absolute path"),
            (&app("workdir = \"/app/../etc\""), "workdir `/app/../etc` is no absolute path"),
            (&app("env = { \"A=B\" = \"C\" }"), "`A=B` is no name of a variable"),
            (&app("labels = { \"\" = \"a\" }"), "a label has no name"),
            (&app("labels = { a = 1 }"), "expected a string"),
        ] {
            let error = Intent::parse(&format!("schema = 1\nname = \"x\"\n{text}\n")).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
