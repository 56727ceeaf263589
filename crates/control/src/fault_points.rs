//! Faults on request, compiled in for tests alone: they show what the boot guard is worth.
//!
//! `SLUICE_FAULT_POINTS="compile=MARK"` aborts the process where a part whose key contains MARK is
//! compiled.

/// Aborts where one of `keys` is marked.
pub(crate) fn at_compile<'a>(mut keys: impl Iterator<Item = &'a str>) {
    let Ok(points) = std::env::var("SLUICE_FAULT_POINTS") else {
        return;
    };
    let mark = points.split(',').find_map(|point| point.strip_prefix("compile="));
    if let Some(mark) = mark
        && keys.any(|key| key.contains(mark))
    {
        std::process::abort();
    }
}
