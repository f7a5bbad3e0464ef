-- View: profiles
-- One row a Profile: all stored columns, and short forms of some.
-- Column: format_name text. Last part of the format: video, audio, image or data.
-- Column: segment_duration_s number. Nominal duration of a segment, in seconds; rounded to a float.
SELECT p.*,
    split_part(p.format, ':', 4) AS format_name,
    CASE WHEN p.segment_duration IS NOT NULL THEN
        CAST(p.segment_duration['numerator'] AS DOUBLE)
            / CAST(COALESCE(p.segment_duration['denominator'], 1) AS DOUBLE) END AS segment_duration_s
FROM raw.profiles p
