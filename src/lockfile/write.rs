//! The one writer of locks. Same value, same bytes.

use std::collections::BTreeMap;

use crate::{
    base::{Descriptor, Digest, Expected, Platform},
    intent::{ProfileRequest, SCHEMA, Side},
};

use super::{
    AppEntry, Download, FileEntry, ImageEntry, ImagePin, Lock, ManifestEntry, ToolEntry, ToolPin, WheelEntry,
    pending::{file_pending, manifest_pending},
};

/// The first line: whoever opens the file learns where it comes from.
const HEADER: &str = "# Written by `ztlab lock` from ztlab.toml. Edit that file, not this one.\n";

/// Writes a lock as canonical text.
pub fn write(lock: &Lock) -> String {
    let mut out = Text(HEADER.to_owned());
    out.pair("schema", &SCHEMA.to_string());
    out.pair("name", &quoted(&lock.name));
    out.pair("host", &list(lock.host.iter().map(|platform| quoted(&platform.to_string()))));
    out.pair("node", &list(lock.node.iter().map(|platform| quoted(&platform.to_string()))));
    if !lock.version.is_empty() {
        // A blank line between two versions: git merges two bumps of neighbours only when a line between them stays.
        out.0.push_str("\n[version]");
        for (name, version) in &lock.version {
            out.0.push('\n');
            out.pair(&key(name), &quoted(version));
        }
    }
    for (name, entry) in &lock.tool {
        out.block("tool", name, |out| tool(out, entry), lock.tool_pending(entry));
    }
    for (name, entry) in &lock.file {
        out.block("file", name, |out| file(out, entry), file_pending(entry));
    }
    for (name, entry) in &lock.manifest {
        out.block("manifest", name, |out| manifest(out, entry), manifest_pending(entry));
    }
    for (name, entry) in &lock.image {
        out.block("image", name, |out| image(out, entry), lock.image_pending(entry));
    }
    for (name, entry) in &lock.wheel {
        out.block("wheel", name, |out| wheel(out, entry), lock.wheel_pending(entry));
    }
    for (name, entry) in &lock.app {
        out.block("app", name, |out| app(out, entry), lock.app_pending(entry));
    }
    for (name, request) in &lock.profile {
        out.block("profile", name, |out| profile(out, request), Vec::new());
    }
    out.0
}

struct Text(String);

impl Text {
    fn pair(&mut self, key: &str, value: &str) {
        self.0.push_str(key);
        self.0.push_str(" = ");
        self.0.push_str(value);
        self.0.push('\n');
    }

    fn block(&mut self, section: &str, name: &str, body: impl FnOnce(&mut Self), pending: Vec<String>) {
        self.0.push_str(&format!("\n[{section}.{}]\n", key(name)));
        body(self);
        if !pending.is_empty() {
            self.pair("pending", &list(pending.iter().map(|what| quoted(what))));
        }
    }

    fn expected(&mut self, expected: Expected) {
        if let Some(digest) = expected.digest {
            self.pair("digest", &quoted(&digest.to_string()));
        }
        if let Some(size) = expected.size {
            self.pair("size", &size.to_string());
        }
    }

    fn optional(&mut self, key: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.pair(key, &quoted(value));
        }
    }

    fn image_pins(&mut self, platforms: &BTreeMap<Platform, ImagePin>) {
        for (platform, pin) in platforms {
            self.pair(&platform.to_string(), &image_pin(pin));
        }
    }
}

fn tool(out: &mut Text, entry: &ToolEntry) {
    out.pair("want", &quoted(&entry.want));
    out.optional("checksum", entry.checksum.as_ref());
    if entry.side == Side::Node {
        out.pair("platform", &quoted("node"));
    }
    out.optional("member", entry.member.as_ref());
    for (platform, pin) in &entry.platforms {
        out.pair(&platform.to_string(), &tool_pin(pin));
    }
}

fn tool_pin(pin: &ToolPin) -> String {
    let mut fields = vec![format!("url = {}", quoted(&pin.url))];
    fields.extend(expected_fields(pin.expected()));
    fields.extend(pin.program.map(|program| format!("program = {}", braced(&expected_fields(program)))));
    fields.extend(pin.checked.as_ref().map(|checked| format!("checked = {}", quoted(checked))));
    braced(&fields)
}

fn file(out: &mut Text, entry: &FileEntry) {
    out.pair("want", &quoted(&entry.want));
    out.optional("checksum", entry.checksum.as_ref());
    out.expected(entry.expected());
    out.optional("checked", entry.checked.as_ref());
    for (name, member) in &entry.member {
        let mut fields = vec![format!("path = {}", quoted(&member.path))];
        fields.extend(expected_fields(member.expected()));
        out.pair(&format!("member.{}", key(name)), &braced(&fields));
    }
}

fn manifest(out: &mut Text, entry: &ManifestEntry) {
    out.pair("want", &quoted(&entry.want));
    out.optional("checksum", entry.checksum.as_ref());
    out.expected(entry.expected());
    out.optional("checked", entry.checked.as_ref());
}

fn image(out: &mut Text, entry: &ImageEntry) {
    out.pair("want", &quoted(&entry.want));
    if let Some(index) = entry.index {
        out.pair("index", &braced(&expected_fields(index)));
    }
    let mut lines: BTreeMap<Platform, String> =
        entry.platforms.iter().map(|(platform, pin)| (*platform, image_pin(pin))).collect();
    for (platform, hint) in &entry.hints {
        let manifest = format!("manifest = {}", braced(&expected_fields(*hint)));
        lines.entry(*platform).or_insert_with(|| braced(&[manifest]));
    }
    for (platform, line) in lines {
        out.pair(&platform.to_string(), &line);
    }
}

fn image_pin(pin: &ImagePin) -> String {
    braced(&[
        format!("manifest = {}", descriptor(&pin.manifest)),
        format!("config = {}", descriptor(&pin.config)),
        format!("layers = {}", list(pin.layers.iter().map(descriptor))),
    ])
}

fn wheel(out: &mut Text, entry: &WheelEntry) {
    out.pair("want", &quoted(&entry.want));
    for (platform, download) in &entry.platforms {
        out.pair(&platform.to_string(), &braced(&download_fields(download)));
    }
}

fn download_fields(download: &Download) -> Vec<String> {
    let url = download.url.as_ref().map(|url| format!("url = {}", quoted(url)));
    url.into_iter().chain(expected_fields(download.expected())).collect()
}

fn app(out: &mut Text, entry: &AppEntry) {
    let request = &entry.request;
    out.pair("path", &quoted(&request.path));
    out.pair("base", &quoted(&request.base));
    out.pair("ref", &quoted(&request.reference));
    out.pair("wheels", &list(request.wheels.iter().map(|wheel| quoted(wheel))));
    out.pair("files", &table(&request.files));
    out.pair("command", &list(request.command.iter().map(|word| quoted(word))));
    out.pair("user", &quoted(&request.user));
    out.pair("workdir", &quoted(&request.workdir));
    out.pair("env", &table(&request.env));
    out.pair("ports", &list(request.ports.iter().map(|port| quoted(port))));
    if !request.labels.is_empty() {
        out.pair("labels", &table(&request.labels));
    }
    if let Some(source) = entry.source {
        out.pair("source", &digest(&source));
    }
    out.image_pins(&entry.platforms);
}

fn profile(out: &mut Text, request: &ProfileRequest) {
    let numbers = [("memory", request.memory), ("cpus", request.cpus)];
    for (name, number) in numbers {
        if let Some(number) = number {
            out.pair(name, &number.to_string());
        }
    }
    out.pair("without", &list(request.without.iter().map(|left| quoted(left))));
}

fn descriptor(descriptor: &Descriptor) -> String {
    braced(&expected_fields(Expected::from(*descriptor)))
}

fn expected_fields(expected: Expected) -> Vec<String> {
    let digest = expected.digest.map(|value| format!("digest = {}", digest(&value)));
    let size = expected.size.map(|value| format!("size = {value}"));
    digest.into_iter().chain(size).collect()
}

fn digest(digest: &Digest) -> String {
    quoted(&digest.to_string())
}

fn table(entries: &BTreeMap<String, String>) -> String {
    let fields: Vec<String> =
        entries.iter().map(|(name, value)| format!("{} = {}", key(name), quoted(value))).collect();
    braced(&fields)
}

fn braced(fields: &[String]) -> String {
    if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A bare key where TOML allows one.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if bare { name.to_owned() } else { quoted(name) }
}

/// A TOML basic string (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' || control == '\u{7f}' => out.push_str(&format!("\\u{:04X}", u32::from(control))),
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}
