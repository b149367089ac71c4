//! The results of a search as Markdown.

use std::fmt::{self, Display};

use serde_json::Value;

use super::{TrialResult, search::Record, trial::percent};

/// A summary, the trials by rank, and the AP of their epochs.
impl Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {} of {} trials\n", self.results.len(), self.trials)?;
        match self.best() {
            Some(best) => writeln!(f, "Best: trial {}, AP {}\n", best.trial, percent(best.ap()))?,
            None => return Ok(()),
        }
        let mut ranked: Vec<&TrialResult> = self.results.iter().collect();
        ranked.sort_by(|a, b| {
            b.rank()
                .partial_cmp(&a.rank())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let paths: Vec<&String> = self.space.distributions().keys().collect();
        write!(f, "| Trial | AP | Epochs | Seconds | End |")?;
        for path in &paths {
            write!(f, " `{path}` |")?;
        }
        writeln!(f, "\n|{}", "---|".repeat(5 + paths.len()))?;
        for result in &ranked {
            let (ap, epochs, end) = (percent(result.ap()), result.epochs.len(), result.end);
            let seconds = result.seconds();
            write!(
                f,
                "| {} | {ap} | {epochs} | {seconds:.0} | {end} |",
                result.trial
            )?;
            for path in &paths {
                let value = result.values.get(*path).map(shown);
                write!(f, " {} |", value.unwrap_or_default().replace('|', "\\|"))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\nAP by epoch:\n")?;
        let most = ranked.iter().map(|result| result.epochs.len()).max();
        let most = most.unwrap_or_default();
        write!(f, "| Trial |")?;
        for epoch in 1..=most {
            write!(f, " {epoch} |")?;
        }
        writeln!(f, "\n|{}", "---|".repeat(1 + most))?;
        for result in &ranked {
            write!(f, "| {} |", result.trial)?;
            for epoch in 0..most {
                let ap = result.epochs.get(epoch).map(|epoch| percent(epoch.ap));
                write!(f, " {} |", ap.unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A value, with the digits of 32 bits if these are all that it has.
pub(super) fn shown(value: &Value) -> String {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) if f64::from(number as f32) == number => (number as f32).to_string(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn trials_are_listed_by_rank() {
        let epochs = |aps: &[f64]| -> serde_json::Value {
            let epoch = |(epoch, ap)| json!({"epoch": epoch, "seconds": 2.0, "ap": ap});
            (1..).zip(aps).map(epoch).collect()
        };
        let result = |trial: usize, rate: f64, aps: &[f64], end: &str| {
            let values = json!({"optimization.learning_rate": rate});
            json!({"trial": trial, "values": values, "epochs": epochs(aps), "end": end})
        };
        let record: Record = serde_json::from_value(json!({
            "trials": 5, "seed": 0, "epochs": 2, "halving": {},
            "space": {"optimization.learning_rate": {"uniform": [0, 1]}},
            "results": [
                result(0, 0.1, &[0.1, 0.2], "completed"),
                result(1, 0.2, &[0.25], "stopped"),
                result(2, 0.3, &[0.3, 0.25], "completed"),
                result(3, 0.4, &[], "diverged"),
            ],
        }))
        .unwrap();
        let expected = "\
# 4 of 5 trials

Best: trial 2, AP 30.0

| Trial | AP | Epochs | Seconds | End | `optimization.learning_rate` |
|---|---|---|---|---|---|
| 2 | 30.0 | 2 | 4 | completed | 0.3 |
| 0 | 20.0 | 2 | 4 | completed | 0.1 |
| 1 | 25.0 | 1 | 2 | stopped | 0.2 |
| 3 | – | 0 | 0 | diverged | 0.4 |

AP by epoch:

| Trial | 1 | 2 |
|---|---|---|
| 2 | 30.0 | 25.0 |
| 0 | 10.0 | 20.0 |
| 1 | 25.0 |  |
| 3 |  |  |
";
        assert_eq!(record.to_string(), expected);
    }
}
