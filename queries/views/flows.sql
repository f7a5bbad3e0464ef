-- View: flows
-- One row a Flow: all stored columns, and short forms of some.
-- Column: format_name text. Last part of the format: video, audio, image, data or multi.
-- Column: resolution text. Width and height, for example 1920x1080; null without a picture.
-- Column: segment_duration_s number. Nominal duration of a segment, in seconds; rounded to a float.
-- Column: collects integer. Flows that it collects.
SELECT f.*,
    split_part(f.format, ':', 4) AS format_name,
    CASE WHEN f.frame_width IS NOT NULL AND f.frame_height IS NOT NULL THEN
        concat(CAST(f.frame_width AS VARCHAR), 'x', CAST(f.frame_height AS VARCHAR)) END AS resolution,
    CASE WHEN f.segment_duration IS NOT NULL THEN
        CAST(f.segment_duration['numerator'] AS DOUBLE)
            / CAST(COALESCE(f.segment_duration['denominator'], 1) AS DOUBLE) END AS segment_duration_s,
    CAST(array_length(f.flow_collection) AS BIGINT) AS collects
FROM raw.flows f
