-- What makes the catalogue's tables pleasant in DuckDB: functions for the times of TAMS. The views of queries/views/
-- need them, and queries/duckdb-tables.sql needs those: `tamslake sql --duckdb-setup` prints all three, in this order.
--
-- Set the time zone to UTC first (SET TimeZone = 'UTC'): in another one, days and the ages of things come out wrong.
-- The server offers the same functions and views in DataFusion.

-- A timestamp as TAMS writes it. Seconds are rounded down and nanoseconds are above them: half a second before zero is
-- (-1, 500000000), and -0:500000000 as text.
CREATE OR REPLACE MACRO timestamp_text(seconds, nanoseconds) AS
    CASE
        WHEN seconds >= 0 THEN CAST(seconds AS VARCHAR) || ':' || CAST(nanoseconds AS VARCHAR)
        WHEN nanoseconds = 0 THEN '-' || CAST(-seconds AS VARCHAR) || ':0'
        ELSE '-' || CAST(-(seconds + 1) AS VARCHAR) || ':' || CAST(1000000000 - nanoseconds AS VARCHAR)
    END;

-- A timerange as TAMS writes it, in the one form that equal timeranges have. Null seconds leave that side open.
CREATE OR REPLACE MACRO timerange_text(start_seconds, start_nanoseconds, start_inclusive,
        end_seconds, end_nanoseconds, end_inclusive) AS
    CASE
        WHEN start_seconds > end_seconds OR (start_seconds = end_seconds AND (start_nanoseconds > end_nanoseconds
            OR (start_nanoseconds = end_nanoseconds AND NOT (start_inclusive AND end_inclusive)))) THEN '()'
        WHEN start_seconds = end_seconds AND start_nanoseconds = end_nanoseconds THEN
            '[' || timestamp_text(start_seconds, start_nanoseconds) || ']'
        ELSE CASE WHEN start_seconds IS NULL THEN ''
                ELSE CASE WHEN start_inclusive THEN '[' ELSE '(' END
                    || timestamp_text(start_seconds, start_nanoseconds) END
            || '_'
            || CASE WHEN end_seconds IS NULL THEN ''
                ELSE timestamp_text(end_seconds, end_nanoseconds)
                    || CASE WHEN end_inclusive THEN ']' ELSE ')' END END
    END;

-- The seconds (rounded down) and nanoseconds (above them) of a timestamp's text; null if it is none.
CREATE OR REPLACE MACRO parse_timestamp(text) AS (
    SELECT CASE WHEN s < 281474976710656 THEN {
        'seconds': CASE WHEN negative THEN -s - CASE WHEN ns > 0 THEN 1 ELSE 0 END ELSE s END,
        'nanoseconds': CASE WHEN negative AND ns > 0 THEN 1000000000 - ns ELSE ns END
    } END
    FROM (
        SELECT text LIKE '-%' AS negative,
            TRY_CAST(split_part(ltrim(text, '-'), ':', 1) AS BIGINT) AS s,
            TRY_CAST(split_part(text, ':', 2) AS INTEGER) AS ns
        WHERE regexp_full_match(text, '-?(0|[1-9][0-9]{0,14}):(0|[1-9][0-9]{0,8})')
    )
);

-- The parts of a timerange's text; null if it is none. Seconds are null where a side is open; of (), all but is_never
-- are null.
CREATE OR REPLACE MACRO parse_timerange(text) AS (
    SELECT CASE
        WHEN never OR a.seconds > b.seconds OR (a.seconds = b.seconds AND (a.nanoseconds > b.nanoseconds
            OR (a.nanoseconds = b.nanoseconds AND NOT (start_in AND end_in)))) THEN
            {'start_seconds': NULL::BIGINT, 'start_nanoseconds': NULL::INTEGER, 'start_inclusive': NULL::BOOLEAN,
            'end_seconds': NULL::BIGINT, 'end_nanoseconds': NULL::INTEGER, 'end_inclusive': NULL::BOOLEAN,
            'is_never': TRUE}
        WHEN (a IS NOT NULL OR start_text = '') AND (b IS NOT NULL OR end_text = '') THEN
            {'start_seconds': a.seconds, 'start_nanoseconds': a.nanoseconds,
            'start_inclusive': CASE WHEN a IS NOT NULL THEN start_in END,
            'end_seconds': b.seconds, 'end_nanoseconds': b.nanoseconds,
            'end_inclusive': CASE WHEN b IS NOT NULL THEN end_in END, 'is_never': FALSE}
    END
    FROM (
        SELECT never, start_in, end_in, start_text, end_text,
            parse_timestamp(start_text) AS a, parse_timestamp(end_text) AS b
        FROM (
            SELECT text = '()' AS never,
                NOT starts_with(text, '(') AS start_in,
                NOT ends_with(text, ')') AS end_in,
                CASE WHEN contains(times, '_') THEN split_part(times, '_', 1) ELSE times END AS start_text,
                CASE WHEN contains(times, '_') THEN substr(times, strpos(times, '_') + 1) ELSE times END AS end_text
            FROM (SELECT regexp_replace(regexp_replace(text, '^[\[(]', ''), '[\])]$', '') AS times)
            -- Without a _ it is one moment, which has to be in it.
            WHERE text = '()' OR contains(times, '_')
                OR (times <> '' AND NOT starts_with(text, '(') AND NOT ends_with(text, ')'))
        )
    )
);

-- Whether two timeranges, as text, have any time in common; null if either is none.
CREATE OR REPLACE MACRO timeranges_overlap(one, other) AS (
    SELECT CASE WHEN a IS NOT NULL AND b IS NOT NULL THEN
        NOT a.is_never AND NOT b.is_never
            AND COALESCE(a.start_seconds::HUGEINT * 2000000000 + a.start_nanoseconds * 2::HUGEINT
                + (NOT a.start_inclusive)::INTEGER
                < b.end_seconds::HUGEINT * 2000000000 + b.end_nanoseconds * 2::HUGEINT + b.end_inclusive::INTEGER, TRUE)
            AND COALESCE(b.start_seconds::HUGEINT * 2000000000 + b.start_nanoseconds * 2::HUGEINT
                + (NOT b.start_inclusive)::INTEGER
                < a.end_seconds::HUGEINT * 2000000000 + a.end_nanoseconds * 2::HUGEINT + a.end_inclusive::INTEGER, TRUE)
    END
    FROM (SELECT parse_timerange(one) AS a, parse_timerange(other) AS b)
);

-- Length of a timerange's text in nanoseconds, whatever its marks: 0 of (), null where a side is open or the text is
-- none.
CREATE OR REPLACE MACRO duration_ns(text) AS (
    SELECT CASE WHEN a.is_never THEN 0::HUGEINT
        ELSE (a.end_seconds - a.start_seconds)::HUGEINT * 1000000000 + (a.end_nanoseconds - a.start_nanoseconds) END
    FROM (SELECT parse_timerange(text) AS a)
);

-- Seconds that TAI is ahead of UTC by, at a time of TAI (seconds since 1970-01-01 of TAI). Null before 1972, when the
-- difference was no whole number.
CREATE OR REPLACE MACRO tai_minus_utc(tai_seconds) AS
    CASE
        WHEN tai_seconds >= 1483228837 THEN 37 -- 2017-01-01
        WHEN tai_seconds >= 1435708836 THEN 36 -- 2015-07-01
        WHEN tai_seconds >= 1341100835 THEN 35 -- 2012-07-01
        WHEN tai_seconds >= 1230768034 THEN 34 -- 2009-01-01
        WHEN tai_seconds >= 1136073633 THEN 33 -- 2006-01-01
        WHEN tai_seconds >= 915148832 THEN 32 -- 1999-01-01
        WHEN tai_seconds >= 867715231 THEN 31 -- 1997-07-01
        WHEN tai_seconds >= 820454430 THEN 30 -- 1996-01-01
        WHEN tai_seconds >= 773020829 THEN 29 -- 1994-07-01
        WHEN tai_seconds >= 741484828 THEN 28 -- 1993-07-01
        WHEN tai_seconds >= 709948827 THEN 27 -- 1992-07-01
        WHEN tai_seconds >= 662688026 THEN 26 -- 1991-01-01
        WHEN tai_seconds >= 631152025 THEN 25 -- 1990-01-01
        WHEN tai_seconds >= 567993624 THEN 24 -- 1988-01-01
        WHEN tai_seconds >= 489024023 THEN 23 -- 1985-07-01
        WHEN tai_seconds >= 425865622 THEN 22 -- 1983-07-01
        WHEN tai_seconds >= 394329621 THEN 21 -- 1982-07-01
        WHEN tai_seconds >= 362793620 THEN 20 -- 1981-07-01
        WHEN tai_seconds >= 315532819 THEN 19 -- 1980-01-01
        WHEN tai_seconds >= 283996818 THEN 18 -- 1979-01-01
        WHEN tai_seconds >= 252460817 THEN 17 -- 1978-01-01
        WHEN tai_seconds >= 220924816 THEN 16 -- 1977-01-01
        WHEN tai_seconds >= 189302415 THEN 15 -- 1976-01-01
        WHEN tai_seconds >= 157766414 THEN 14 -- 1975-01-01
        WHEN tai_seconds >= 126230413 THEN 13 -- 1974-01-01
        WHEN tai_seconds >= 94694412 THEN 12 -- 1973-01-01
        WHEN tai_seconds >= 78796811 THEN 11 -- 1972-07-01
        WHEN tai_seconds >= 63072010 THEN 10 -- 1972-01-01
    END;

-- A time of TAI as a time of day. Null before 1972 and from the year 10000 on. A leap second is the second after it.
CREATE OR REPLACE MACRO tai_to_utc(seconds, nanoseconds) AS
    CASE WHEN seconds < 253402300837 THEN
        make_timestamp((CAST(seconds AS BIGINT) - tai_minus_utc(seconds)) * 1000000
            + CAST(floor(nanoseconds / 1e3) AS BIGINT)) END;

-- The whole seconds, rounded down, that a time of UTC is in TAI. Null before 1972.
CREATE OR REPLACE MACRO utc_to_tai_seconds(utc) AS (
    SELECT s + CASE
        WHEN s >= 1483228800 THEN 37 -- 2017-01-01
        WHEN s >= 1435708800 THEN 36 -- 2015-07-01
        WHEN s >= 1341100800 THEN 35 -- 2012-07-01
        WHEN s >= 1230768000 THEN 34 -- 2009-01-01
        WHEN s >= 1136073600 THEN 33 -- 2006-01-01
        WHEN s >= 915148800 THEN 32 -- 1999-01-01
        WHEN s >= 867715200 THEN 31 -- 1997-07-01
        WHEN s >= 820454400 THEN 30 -- 1996-01-01
        WHEN s >= 773020800 THEN 29 -- 1994-07-01
        WHEN s >= 741484800 THEN 28 -- 1993-07-01
        WHEN s >= 709948800 THEN 27 -- 1992-07-01
        WHEN s >= 662688000 THEN 26 -- 1991-01-01
        WHEN s >= 631152000 THEN 25 -- 1990-01-01
        WHEN s >= 567993600 THEN 24 -- 1988-01-01
        WHEN s >= 489024000 THEN 23 -- 1985-07-01
        WHEN s >= 425865600 THEN 22 -- 1983-07-01
        WHEN s >= 394329600 THEN 21 -- 1982-07-01
        WHEN s >= 362793600 THEN 20 -- 1981-07-01
        WHEN s >= 315532800 THEN 19 -- 1980-01-01
        WHEN s >= 283996800 THEN 18 -- 1979-01-01
        WHEN s >= 252460800 THEN 17 -- 1978-01-01
        WHEN s >= 220924800 THEN 16 -- 1977-01-01
        WHEN s >= 189302400 THEN 15 -- 1976-01-01
        WHEN s >= 157766400 THEN 14 -- 1975-01-01
        WHEN s >= 126230400 THEN 13 -- 1974-01-01
        WHEN s >= 94694400 THEN 12 -- 1973-01-01
        WHEN s >= 78796800 THEN 11 -- 1972-07-01
        WHEN s >= 63072000 THEN 10 -- 1972-01-01
    END
    FROM (SELECT CAST(floor(epoch_us(utc) / 1e6) AS BIGINT) AS s)
);
