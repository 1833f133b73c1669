//! Limits on the command line: `2`, or `max=3,distinct=device,where=kind:live|vod`.

use crate::client::{Condition, Limit};

/// Parses a limit. The error is the expected form.
pub(super) fn parse(text: &str) -> Result<Limit, &'static str> {
    let form = "N, or max=N with distinct=KEY and where=KEY:VALUE|VALUE, separated by commas";
    let number = |text: &str| text.trim().parse().ok().filter(|n: &u32| *n > 0);
    if let Some(max) = number(text) {
        return Ok(Limit::of_all(max));
    }
    let mut limit = Limit::default();
    for part in text.split(',') {
        let (name, value) = part.split_once('=').ok_or(form)?;
        match name.trim() {
            "max" => limit.max = number(value).ok_or(form)?,
            "distinct" => limit.distinct = Some(value.trim().into()),
            "where" => {
                let (key, values) = value.split_once(':').ok_or(form)?;
                limit.conditions.push(Condition {
                    key: key.trim().into(),
                    values: values.split('|').map(Into::into).collect(),
                });
            }
            _ => return Err(form),
        }
    }
    if limit.max == 0 {
        return Err("each limit needs max=N");
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_limit_of_all_streams() {
        assert_eq!(parse("2"), Ok(Limit::of_all(2)));
        assert_eq!(parse("max=2"), Ok(Limit::of_all(2)));
    }

    #[test]
    fn parts_are_in_any_order_and_a_value_may_have_alternatives() {
        let condition = |key: &str, values: &[&str]| Condition {
            key: key.into(),
            values: values.iter().map(|value| (*value).into()).collect(),
        };
        let expected = Limit {
            max: 3,
            distinct: Some("device".into()),
            conditions: vec![
                condition("kind", &["live", "vod"]),
                condition("4k", &["true"]),
            ],
        };
        let text = "where=kind:live|vod,distinct=device,max=3,where=4k:true";
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn another_form_is_a_mistake() {
        for text in ["", "0", "-1", "max", "max=x", "min=2", "where=kind,max=1"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("distinct=device"), Err("each limit needs max=N"));
    }
}
