//! Byte counts for people.

/// Formats a byte count in decimal units, as networks and disks are sold: `999 B`, `1.5 MB`, `2.0 GB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Reads a byte count as people write it: `500k`, `2.5 MB`, `1MiB`, `2M/s`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("/s").unwrap_or(&lower);
    let split = lower.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let factor = match unit.strip_suffix('b').unwrap_or(unit) {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "ki" => 1024.0,
        "mi" => 1024.0 * 1024.0,
        "gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("`{unit}` is no unit of bytes; expected k, M, G, KiB, MiB or GiB")),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    let bytes = number * factor;
    if bytes.is_finite() && bytes >= 1.0 { Ok(bytes as u64) } else { Err(format!("`{text}` is less than a byte")) }
}

#[cfg(test)]
mod tests {
    use super::{human_bytes, parse_bytes};

    #[test]
    fn counts_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("1", 1),
            ("500k", 500_000),
            ("2.5 MB", 2_500_000),
            ("2M/s", 2_000_000),
            ("1MiB", 1_048_576),
            (" 3 gb/s ", 3_000_000_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "0", "-1M", "2 parsecs", "1e", "nan", "inf"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn units_change_at_a_thousand() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_500_000, "1.5 MB"),
            (999_960_000, "1.0 GB"),
            (3_200_000_000, "3.2 GB"),
        ] {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
