-- View: sources
-- One row a Source: all stored columns, and a short form of the format.
-- Column: format_name text. Last part of the format: video, audio, image, data or multi.
SELECT s.*, split_part(s.format, ':', 4) AS format_name
FROM raw.sources s
