//! `ztcount`: how many instructions the hot functions take, counted by callgrind. Unlike a time, a count is the same on a busy
//! machine, so it can be held against a committed one.
//!
//! Started without arguments it starts itself once more under valgrind, where each case runs once after warming up, and
//! compares with `benches/instructions.json`; `--accept` writes that file. Counts are filed under the processor features
//! the program saw there: valgrind shows a processor of its own, so that machines with AVX2 count the same whatever else
//! they have.

mod cases;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::{Map, Value, json};

/// What a count may differ from the accepted one: compilers change.
const TOLERANCE: f64 = 0.05;
const ACCEPTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

#[derive(Parser)]
#[command(
    about = "Instructions of the hot functions, compared with benches/instructions.json (needs valgrind)"
)]
struct Arguments {
    /// Write what was counted into the file instead of comparing.
    #[arg(long)]
    accept: bool,
    /// Run the cases: what valgrind is to watch.
    #[arg(long, hide = true)]
    inner: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.inner {
        return inner();
    }
    let (features, counts) = count()?;
    let text = fs::read_to_string(ACCEPTED).unwrap_or_else(|_| "{}".to_owned());
    let mut accepted: Map<String, Value> =
        serde_json::from_str(&text).with_context(|| format!("{ACCEPTED} is no JSON object"))?;
    if arguments.accept {
        accepted.insert(features, json!(counts));
        fs::write(ACCEPTED, serde_json::to_string_pretty(&accepted)? + "\n")
            .with_context(|| format!("cannot write {ACCEPTED}"))?;
        return Ok(());
    }
    let Some(wanted) = accepted.get(&features) else {
        println!("nothing to compare with for a processor with {features}: not compared");
        return Ok(());
    };
    let bad: Vec<&str> = counts
        .iter()
        .filter(|(name, count)| wanted[name.as_str()].as_f64().is_none_or(|limit| far(**count as f64, limit)))
        .map(|(name, _)| name.as_str())
        .collect();
    for (name, count) in &counts {
        let was = wanted[name.as_str()].as_u64().map_or_else(|| "nothing".to_owned(), |was| was.to_string());
        let mark = if bad.contains(&name.as_str()) { "  <<<" } else { "" };
        println!("{name:<34} {count:>8} (accepted: {was}){mark}");
    }
    ensure!(
        bad.is_empty(),
        "more than {} % away from {ACCEPTED}: {}. If that is meant to be: ztcount --accept",
        TOLERANCE * 100.0,
        bad.join(", ")
    );
    Ok(())
}

fn far(count: f64, wanted: f64) -> bool {
    (count - wanted).abs() > wanted * TOLERANCE
}

/// Runs all cases and says what was run, a line each, after a line with the features.
fn inner() -> Result<()> {
    println!("{}", features());
    cases::all(&mut |name, work| {
        // Tables grow and caches fill first.
        for _ in 0..3 {
            work();
        }
        counted(work);
        println!("{name}");
    })
}

/// What callgrind counts: everything from its start to its end, by its name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // So that the call above is not this function's last deed, and the function has an end of its own.
    std::hint::black_box(());
}

/// The features of the processor that decide which code runs, as this process sees it.
fn features() -> String {
    #[cfg(target_arch = "x86_64")]
    let seen = [
        ("sse4.1", is_x86_feature_detected!("sse4.1")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("aes", is_x86_feature_detected!("aes")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("vaes", is_x86_feature_detected!("vaes")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let seen: [(&str, bool); 0] = [];
    let names: Vec<&str> = seen.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    format!("{} {}", std::env::consts::ARCH, names.join(" "))
}

/// Runs the cases under callgrind: the features, and the count of each case.
fn count() -> Result<(String, BTreeMap<String, u64>)> {
    let folder = std::env::temp_dir().join(format!("ztcount-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = watch(&folder);
    // Only temporary files; their loss or stay changes nothing.
    let _ = fs::remove_dir_all(&folder);
    result
}

fn watch(folder: &Path) -> Result<(String, BTreeMap<String, u64>)> {
    let file = folder.join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted*"])
        .arg("--dump-before=ztcount::counted")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .arg("--inner")
        .output()
        .context("cannot run valgrind: is the package valgrind installed?")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("under valgrind: {}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let mut lines = said.lines();
    let features = lines.next().context("no features")?.to_owned();
    let mut counts = BTreeMap::new();
    let names: Vec<&str> = lines.collect();
    for (number, name) in names.iter().copied().enumerate() {
        // A dump before each case, so the first is empty and the next one has the first case; the last case is what is left
        // at the end, in a file without a number.
        let dump = if number + 1 == names.len() {
            file.display().to_string()
        } else {
            format!("{}.{}", file.display(), number + 2)
        };
        let text = fs::read_to_string(&dump).with_context(|| format!("no dump of {name}"))?;
        let total = text.lines().find_map(|line| {
            line.strip_prefix("summary: ").or_else(|| line.strip_prefix("totals: "))?.trim().parse().ok()
        });
        counts.insert(name.to_owned(), total.with_context(|| format!("no total of {name}"))?);
    }
    Ok((features, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_is_near() {
        assert!(!far(105.0, 100.0) && !far(95.0, 100.0));
        assert!(far(106.0, 100.0) && far(94.0, 100.0));
    }

    #[test]
    fn every_case_runs_and_has_a_name_of_its_own() {
        let mut names = Vec::new();
        cases::all(&mut |name, work| {
            work();
            names.push(name.to_owned());
        })
        .unwrap();
        let all = names.len();
        names.sort();
        names.dedup();
        assert!(all == names.len() && all > 10, "{names:?}");
    }
}
