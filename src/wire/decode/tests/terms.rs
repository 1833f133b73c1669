use super::*;

/// The terms of an `init` with these fields.
fn terms(fields: &str) -> Result<Option<Terms>, String> {
    let body = format!(r#"{{"account":"alice","stream":"{ID}",{fields}}}"#);
    match init(&message("acme.init", body.as_bytes())) {
        Ok(init) => Ok(init.terms.map(|terms| *terms)),
        Err(problem) => {
            let field = problem.field.unwrap_or_default();
            Err(format!("{field}: {}", problem.message))
        }
    }
}

#[test]
fn the_terms_of_an_init_are_decoded() {
    let all = r#""limits":[{"max":2},{"max":3,"distinct":"device","where":{"kind":["live",1,true]}}],
                 "same":["device","app"],"on_limit":"replace_oldest","reason":"moved""#;
    let condition = Condition {
        key: "kind".into(),
        values: ["live", "1", "true"].map(Into::into).into(),
    };
    let limit = Limit {
        max: 3,
        distinct: Some("device".into()),
        conditions: vec![condition],
    };
    let expected = Terms {
        limits: vec![Limit::of_all(2), limit],
        same: vec!["device".into(), "app".into()],
        on_limit: OnLimit::ReplaceOldest,
        reason: GivenReason::new("moved").ok(),
    };
    assert_eq!(terms(all), Ok(Some(expected)));
    for none in [
        r#""limits":[],"same":[]"#,
        r#""limits":null,"on_limit":"refuse""#,
        r#""max_active":2"#,
    ] {
        assert_eq!(terms(none), Ok(None), "{none}");
    }
}

#[test]
fn bad_terms_get_the_expected_form() {
    let limits = |one: &str| format!(r#""limits":[{one}]"#);
    let keys = |n: usize| vec!["\"a\""; n].join(",");
    let nine = [r#"{"max":1}"#; 9].join(",");
    let five_keys: Vec<_> = (0..5).map(|n| format!("\"{n}\":[1]")).collect();
    let conditions = "must be an object of at most 4 metadata keys with arrays of 1 to 16 values, \
                      not one";
    let whole = "must be a whole number from 1 to 4294967295, not";
    let long = "must be 1 to 64 bytes, not an empty or a longer one";
    for (fields, reason) in [
        (
            limits(&nine),
            "limits: must be an array of at most 8 limits, not a longer one".to_owned(),
        ),
        (
            limits("{}"),
            "limits: each element must have max".to_owned(),
        ),
        (
            limits("7"),
            "limits: each element must be an object, not a number".to_owned(),
        ),
        (
            limits("[1,null,null]"),
            "limits: each element must be an object, not an array".to_owned(),
        ),
        (
            limits(r#"{"max":0}"#),
            format!("limits: each element {whole} zero"),
        ),
        (
            limits(r#"{"max":1,"wher":{}}"#),
            "limits: each element has an unknown key".to_owned(),
        ),
        (
            limits(r#"{"max":1,"distinct":""}"#),
            format!("limits: each metadata key {long}"),
        ),
        (
            limits(&format!(
                r#"{{"max":1,"where":{{{}}}}}"#,
                five_keys.join(",")
            )),
            format!("limits: each element {conditions} of more than 4 keys"),
        ),
        (
            limits(r#"{"max":1,"where":{"a":[]}}"#),
            format!("limits: each element {conditions} with no or more than 16 values"),
        ),
        (
            limits(r#"{"max":1,"where":{"a":[1],"a":[2]}}"#),
            format!("limits: each element {conditions} with a duplicate key"),
        ),
        (
            limits(r#"{"max":1,"where":{"a":"live"}}"#),
            "limits: each element must be an array, not a string".to_owned(),
        ),
        (
            limits(r#"{"max":1,"where":{"a":[null]}}"#),
            "limits: each element must be a string, a number or a boolean, not null".to_owned(),
        ),
        (
            format!(r#""max_active":1,{}"#, limits(r#"{"max":1}"#)),
            r#"limits: must not be beside max_active, which is {"max": N} as one of the limits"#
                .to_owned(),
        ),
        (
            format!(r#""same":[{}]"#, keys(5)),
            "same: must be an array of at most 4 metadata keys, not a longer one".to_owned(),
        ),
        (
            r#""same":[""]"#.to_owned(),
            format!("same: each metadata key {long}"),
        ),
        (
            r#""on_limit":"oldest""#.to_owned(),
            "on_limit: must be refuse or replace_oldest, not another string".to_owned(),
        ),
        (
            r#""reason":"a\tb""#.to_owned(),
            "reason: must be 1 to 64 bytes of UTF-8 without control characters, not another string"
                .to_owned(),
        ),
    ] {
        assert_eq!(terms(&fields), Err(reason), "{fields}");
    }
}

#[test]
fn a_request_with_other_terms_is_another_request_even_with_the_same_ids() {
    let ask = |terms: &str| {
        let body = format!(r#"{{"account":"alice","stream":"{ID}"{terms}}}"#);
        let asked = init(&Message {
            message_id: Some(b"1"),
            ..message("acme.init", body.as_bytes())
        });
        asked.unwrap().request
    };
    let all = [
        "",
        r#","limits":[{"max":1}]"#,
        r#","limits":[{"max":2}]"#,
        r#","limits":[{"max":2,"where":{"a":[1]}}]"#,
        r#","same":["device"]"#,
        r#","on_limit":"replace_oldest""#,
    ];
    let ids: std::collections::HashSet<_> = all.iter().map(|terms| ask(terms)).collect();
    assert_eq!(ids.len(), all.len());
    assert_eq!(ask(r#","reason":"x""#), ask(r#","reason":"y""#));
}
