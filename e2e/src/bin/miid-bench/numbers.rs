//! Quantiles and spreads.

/// The `q`-quantile of a sorted list.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let at = (q * sorted.len() as f64).ceil() as usize;
    sorted[at.clamp(1, sorted.len()) - 1]
}

/// Sorted.
pub fn sorted(mut list: Vec<f64>) -> Vec<f64> {
    list.sort_by(f64::total_cmp);
    list
}

/// Median, and from where to where.
pub fn spread(list: Vec<f64>, digits: usize) -> String {
    let list = sorted(list);
    let (low, mid, high) = (quantile(&list, 0.0), quantile(&list, 0.5), quantile(&list, 1.0));
    format!("{mid:.digits$} ({low:.digits$}–{high:.digits$})")
}
