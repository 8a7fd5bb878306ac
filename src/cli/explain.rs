//! `explain`: what an error code means.

use serde_json::json;

use super::{
    exit::{EXIT_CODES, EXPLANATIONS, explanation},
    render,
};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("no error has the code `{0}`")]
#[diagnostic(code("usage::code"), help("`ztlab explain` lists every code"))]
struct UnknownCode(String);

pub(super) fn print(code: Option<&str>, json: bool) -> miette::Result<()> {
    let Some(code) = code else {
        let rows = EXPLANATIONS.iter().map(|one| vec![one.code.to_owned(), one.exit.to_string(), one.text.to_owned()]);
        let rows: Vec<Vec<String>> = rows.collect();
        if json {
            render::json_line(&rows);
        } else {
            render::line(&render::table(&rows));
        }
        return Ok(());
    };
    let found = explanation(code).ok_or_else(|| UnknownCode(code.to_owned()))?;
    let meaning = EXIT_CODES.iter().find(|(number, _)| *number == found.exit).map_or("", |(_, meaning)| meaning);
    if json {
        render::json_line(&json!({ "code": found.code, "exit": found.exit, "meaning": meaning, "text": found.text }));
    } else {
        render::line(&format!("{}\n\n{}\n\nExit code {}: {meaning}.", found.code, found.text, found.exit));
    }
    Ok(())
}
