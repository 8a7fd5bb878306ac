//! Being on the teacher's roster: `fetch`, `install` and `verify` have these.

use clap::Args;
use url::Url;

use crate::fetch::seat::SeatName;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SeatArguments {
    /// Tell the roster that this seat did it; needs `--roster`
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) seat: Option<SeatName>,
    /// Tell it to the `ztlab serve` at this address; needs `--seat`
    #[arg(long, value_name = "URL", value_parser = web_address)]
    pub(in crate::cli) roster: Option<Url>,
}

fn web_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let usable = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    if usable { Ok(url) } else { Err("expected http://ADDRESS:PORT/".to_owned()) }
}
