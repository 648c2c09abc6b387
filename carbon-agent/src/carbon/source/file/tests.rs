use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn every_way_of_writing_it_reads_the_same() {
    let expected = vec![(time("2026-03-01T12:00:00Z"), 300.0), (time("2026-03-01T13:00:00Z"), 310.5)];
    for text in [
        "timestamp,grams_per_kwh\n2026-03-01T12:00:00Z,300\n2026-03-01T13:00:00Z,310.5\n",
        "2026-03-01T12:00:00Z,300\r\n2026-03-01T14:00:00+01:00, 310.5",
        "# from the grid operator\n\nGrams_per_kWh,source,timestamp\n300,x,2026-03-01T12:00Z\n310.5,y,2026-03-01T13:00Z",
        "\u{feff}timestamp,grams_per_kwh\n2026-03-01 12:00:00Z,300\n2026-03-01 13:00:00Z,310.5\n",
        "{\"timestamp\":\"2026-03-01T12:00:00Z\",\"grams_per_kwh\":300}\n\n\
         {\"timestamp\":\"2026-03-01T13:00:00Z\",\"grams_per_kwh\":310.5,\"note\":1}\n",
        "[{\"timestamp\":\"2026-03-01T12:00:00Z\",\"grams_per_kwh\":300},\n\
         {\"timestamp\":\"2026-03-01T13:00:00Z\",\"grams_per_kwh\":310.5}]",
    ] {
        assert_eq!(parse(text).as_ref(), Ok(&expected), "{text}");
    }
}

#[test]
fn a_bad_line_is_named_and_not_quoted() {
    let good = "2026-03-01T12:00:00Z,300\n";
    let object = "{\"timestamp\":\"2026-03-01T12:00:00Z\",\"grams_per_kwh\":300}";
    for (text, line, what) in [
        (format!("{good}s3cret"), 2, "timestamp: expected a time with its offset, as 2026-01-31T13:00:00Z"),
        (format!("{good}\n2026-03-01T13:00:00,300"), 3, "timestamp: expected a time with its offset"),
        (format!("{good}2026-03-01T13:00:00Z"), 2, "grams_per_kwh: expected a number"),
        (format!("{good}2026-03-01T13:00:00Z,s3cret"), 2, "grams_per_kwh: expected a number"),
        (format!("{good}2026-03-01T13:00:00Z,-1"), 2, "grams_per_kwh: -1e0 g/kWh cannot be true"),
        (format!("{good}2026-03-01T13:00:00Z,NaN"), 2, "grams_per_kwh: NaN g/kWh cannot be true"),
        (format!("{good}2026-03-01T13:00:00Z,9e9"), 2, "grams_per_kwh: 9e9 g/kWh cannot be true"),
        (format!("{object}\n{{\"timestamp\":\"s3cret\"}}"), 2, "timestamp: expected a time"),
        (format!("{object}\n{object},"), 2, "not JSON"),
        (format!("[{object},\n\"s3cret\"]"), 2, "timestamp: expected a time"),
        (format!("[{object},\n{{\"timestamp\":\"2026-03-01T12:00:00Z\"}}]"), 2, "grams_per_kwh: expected a number"),
        (format!("[{object}\n"), 2, "not JSON"),
    ] {
        let bad = parse(&text).unwrap_err();
        assert_eq!(bad.line, Some(line), "{text}: {bad:?}");
        assert!(bad.what.starts_with(what), "{text}: {bad:?}");
        assert!(!bad.what.contains("s3cret"), "{bad:?}");
    }
}

#[test]
fn the_last_value_holds_for_the_usual_step() {
    let now = time("2026-03-01T12:00:00Z");
    let hours = |hours: &[i64]| -> Vec<(Timestamp, f64)> {
        hours.iter().map(|hour| (now + SignedDuration::from_hours(*hour), *hour as f64)).collect()
    };
    let last_until = |values| points(values, now).last().unwrap().valid_until.unwrap().duration_since(now).as_hours();
    assert_eq!(last_until(hours(&[0])), 1, "a single value");
    assert_eq!(last_until(hours(&[-48, -24, 0])), 24, "daily values");
    assert_eq!(last_until(hours(&[0, -2, -3, -1])), 1, "hourly values in any order");
    assert_eq!(points(hours(&[0, 0, 1]), now).len(), 2, "two lines for one moment");
    let years: Vec<i64> = (-20_000..=24).collect();
    assert_eq!(points(hours(&years), now).len(), 48 + 24 + 1, "what is long past is not kept");
}

#[test]
fn it_is_read_again_when_it_was_replaced_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("intensity.csv");
    let now = time("2026-03-01T12:30:00Z");
    let mut source = FileSource::new(path.clone());
    assert_eq!(source.series().label.method, "file:intensity.csv");
    let fault = source.poll(now).unwrap_err();
    assert_eq!(fault.message, format!("{}: entity not found", path.display()));
    assert_eq!(source.poll(now), Ok(News::None), "said once");

    let grams = |news: Result<News, Fault>| match news.unwrap() {
        News::Whole(points) => points.iter().map(|p| p.grams_per_kwh).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    std::fs::write(&path, "2026-03-01T12:00:00Z,300\n").unwrap();
    assert_eq!(grams(source.poll(now)), [300.0]);
    assert_eq!(source.poll(now), Ok(News::None));
    let other = dir.path().join("new");
    std::fs::write(&other, "2026-03-01T12:00:00Z,301\n").unwrap();
    std::fs::rename(&other, &path).unwrap();
    assert_eq!(grams(source.poll(now)), [301.0], "replaced by rename");
    std::fs::write(&path, "2026-03-01T12:00:00Z,3").unwrap();
    assert_eq!(grams(source.poll(now)), [3.0], "rewritten in place");
    std::fs::write(&path, "2026-03-01T12:").unwrap();
    assert_eq!(source.poll(now).unwrap_err().kind, FaultKind::File);
    assert_eq!(source.poll(now), Ok(News::None));
    std::fs::write(&path, "").unwrap();
    assert!(source.poll(now).unwrap_err().message.ends_with("no values in it"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(source.poll(now).is_err(), "a folder is no file");
}
