//! Arguments, environment and the user's `config.toml` become one value, once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use url::Url;

use super::args::Global;
use crate::fetch::seat::SeatName;

/// What the user can keep in `config.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserConfig {
    /// FROM → TO, as `--mirror FROM=TO`.
    #[serde(default)]
    mirror: BTreeMap<String, String>,
    /// As `--ca-file FILE`; relative names are relative to the file itself.
    #[serde(default)]
    ca_files: Vec<PathBuf>,
    /// As `--seat NAME --roster URL`.
    #[serde(default)]
    roster: Roster,
}

/// A seat that the user keeps.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Roster {
    pub(super) seat: Option<SeatName>,
    pub(super) server: Option<Url>,
}

/// Settings of one run.
#[derive(Debug)]
pub(super) struct Settings {
    /// The folder that holds `lock/`.
    pub(super) lab: PathBuf,
    /// The store's folder.
    pub(super) store: PathBuf,
    /// The folder of the installs' journals.
    pub(super) journals: PathBuf,
    /// FROM → TO; the command line's come first.
    pub(super) mirrors: Vec<(String, String)>,
    /// Files with certificates to believe.
    pub(super) ca_files: Vec<PathBuf>,
}

/// A command line or configuration that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum SettingsError {
    #[error("no lab here: neither `{}` nor a folder above it holds lock/ztlab.toml", .0.display())]
    #[diagnostic(code("usage::lab"), help("go into the lab's folder, or name it: ztlab --lab DIR …"))]
    NoLab(PathBuf),
    #[error("`{0}` is not a mirror: expected FROM=TO")]
    #[diagnostic(
        code("usage::mirror"),
        help("for example: --mirror docker.io=https://mirror.school.example/docker.io")
    )]
    Mirror(String),
    #[error("cannot read {}", .path.display())]
    #[diagnostic(
        code("usage::config"),
        help(
            "correct the file; it may hold ca_files = [\"FILE\"], a [mirror] table of \"FROM\" = \"TO\" lines, and a [roster] table with seat and server"
        )
    )]
    Config { path: PathBuf, source: toml::de::Error },
    #[error("{0}")]
    #[diagnostic(code("usage::io"))]
    Io(#[from] std::io::Error),
    #[error("this platform has no home folder to keep the store in")]
    #[diagnostic(code("usage::store"), help("name a folder: ztlab --store DIR …"))]
    NoHome,
}

impl Settings {
    /// Settles everything that the verbs need to know. Where no lab is needed and none is found, the working folder
    /// stands for it.
    pub(super) fn resolve(global: &Global, needs_no_lab: bool) -> Result<Self, SettingsError> {
        let here = std::env::current_dir()?;
        let lab = match &global.lab {
            Some(folder) if folder.join("lock/ztlab.toml").is_file() => folder.clone(),
            Some(folder) => return Err(SettingsError::NoLab(folder.clone())),
            None => match nearest_lab(&here) {
                Some(folder) => folder,
                None if needs_no_lab => here,
                None => return Err(SettingsError::NoLab(here)),
            },
        };
        let lab = std::path::absolute(lab)?;
        let folders = directories::ProjectDirs::from("", "", "ztlab");
        let store = match (&global.store, &folders) {
            (Some(store), _) => std::path::absolute(store)?,
            (None, Some(folders)) => folders.data_dir().join("store"),
            (None, None) => return Err(SettingsError::NoHome),
        };
        // A machine without a home folder keeps them beside its store.
        let journals = match &folders {
            Some(folders) => folders.data_dir().join("journals"),
            None => store.with_file_name("journals"),
        };
        let mut mirrors = Vec::new();
        for text in &global.mirror {
            let pair = text.split_once('=').filter(|(from, to)| !from.is_empty() && !to.is_empty());
            let (from, to) = pair.ok_or_else(|| SettingsError::Mirror(text.clone()))?;
            mirrors.push((from.to_owned(), to.to_owned()));
        }
        let mut ca_files: Vec<PathBuf> = global.ca_file.iter().map(std::path::absolute).collect::<Result<_, _>>()?;
        if let Some(folders) = &folders {
            let config = user_config(&folders.config_dir().join("config.toml"))?;
            mirrors.extend(config.mirror);
            ca_files.extend(config.ca_files.iter().map(|file| folders.config_dir().join(file)));
        }
        Ok(Self { lab, store, journals, mirrors, ca_files })
    }
}

/// The seat of the user's configuration.
pub(super) fn roster() -> Result<Roster, SettingsError> {
    match directories::ProjectDirs::from("", "", "ztlab") {
        Some(folders) => Ok(user_config(&folders.config_dir().join("config.toml"))?.roster),
        None => Ok(Roster::default()),
    }
}

fn nearest_lab(start: &Path) -> Option<PathBuf> {
    start.ancestors().find(|folder| folder.join("lock/ztlab.toml").is_file()).map(Path::to_owned)
}

fn user_config(path: &Path) -> Result<UserConfig, SettingsError> {
    match fs_err::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|source| SettingsError::Config { path: path.to_owned(), source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(UserConfig::default()),
        Err(error) => Err(error.into()),
    }
}
