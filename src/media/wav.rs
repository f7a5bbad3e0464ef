//! A test tone as playable WAV files, for `tamslake demo` and for tests that need real media.
//!
//! Pure arithmetic. Knows nothing of stores.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "values were clamped to what a WAV header can say, samples to 16 bits"
)]

use std::f64::consts::TAU;

/// A quarter of full scale: easy on the ears.
const AMPLITUDE: f64 = 0.25 * i16::MAX as f64;

/// A sine of `frequency` Hz from `seconds_start` on, 16-bit PCM, the same in all channels.
///
/// Samples count from second 0 of the timeline, and the phase follows from the count: files whose starts and ends meet
/// play without a click and without a missing sample. Ends at 4 GB, the most that WAV can hold.
pub fn tone(seconds_start: f64, duration: f64, frequency: f64, sample_rate: u32, channels: u16) -> Vec<u8> {
    let channels = channels.clamp(1, u16::MAX / 2);
    let rate = i64::from(sample_rate.max(1));
    let block_align = u32::from(channels) * 2;

    let sample_at = |seconds: f64| (seconds * rate as f64).round() as i64;
    let first = sample_at(seconds_start);
    let most = i64::from((u32::MAX - 36) / block_align);
    let count = sample_at(seconds_start + duration).saturating_sub(first).clamp(0, most);
    // Fits: `most` is made so.
    let data_length = count as u32 * block_align;

    let mut wav = Vec::with_capacity(44 + data_length as usize);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + data_length).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16_u32.to_le_bytes());
    wav.extend_from_slice(&1_u16.to_le_bytes()); // PCM
    wav.extend_from_slice(&channels.to_le_bytes());
    wav.extend_from_slice(&(rate as u32).to_le_bytes());
    wav.extend_from_slice(&(rate as u32).saturating_mul(block_align).to_le_bytes());
    wav.extend_from_slice(&(block_align as u16).to_le_bytes());
    wav.extend_from_slice(&16_u16.to_le_bytes());
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&data_length.to_le_bytes());
    for index in first..first.saturating_add(count) {
        // Whole seconds and the rest apart: their product with the frequency stays exact enough in the year 2100, too.
        let (seconds, rest) = (index.div_euclid(rate), index.rem_euclid(rate));
        let cycles = (frequency * seconds as f64).fract() + frequency * rest as f64 / rate as f64;
        let sample = ((cycles * TAU).sin() * AMPLITUDE).round() as i16;
        for _ in 0..channels {
            wav.extend_from_slice(&sample.to_le_bytes());
        }
    }
    wav
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(wav: &[u8]) -> Vec<i16> {
        wav[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn the_header_describes_the_samples() {
        let wav = tone(0.0, 0.5, 440.0, 48_000, 2);
        assert_eq!(wav.len(), 44 + 24_000 * 4);
        assert_eq!(&wav[..4], b"RIFF");
        assert_eq!(wav[4..8], (wav.len() as u32 - 8).to_le_bytes());
        assert_eq!(&wav[8..16], b"WAVEfmt ");
        assert_eq!(wav[22..24], 2_u16.to_le_bytes());
        assert_eq!(wav[24..28], 48_000_u32.to_le_bytes());
        assert_eq!(wav[28..32], 192_000_u32.to_le_bytes());
        assert_eq!(wav[32..34], 4_u16.to_le_bytes());
        assert_eq!(wav[40..44], (wav.len() as u32 - 44).to_le_bytes());
        let samples = samples(&wav);
        assert!(samples.chunks_exact(2).all(|pair| pair[0] == pair[1]));
        let loudest = samples.iter().max();
        assert!(matches!(loudest, Some(8100..=8192)), "{loudest:?}");
    }

    #[test]
    fn segments_in_a_row_are_the_long_tone_cut_in_pieces() {
        for start in [0.0, 1_700_000_000.0, -3.0] {
            let whole = samples(&tone(start, 2.0, 440.5, 44_100, 1));
            let mut pieces = Vec::new();
            for piece in 0..5 {
                pieces.extend(samples(&tone(start + f64::from(piece) * 0.4, 0.4, 440.5, 44_100, 1)));
            }
            assert_eq!(pieces, whole, "{start}");
        }
    }

    #[test]
    fn a_tone_far_from_zero_is_as_clean_as_one_at_zero() {
        assert_eq!(tone(0.0, 0.1, 440.0, 48_000, 1), tone(4_102_444_800.0, 0.1, 440.0, 48_000, 1));
    }

    #[test]
    fn a_tone_without_duration_is_a_valid_empty_file() {
        assert_eq!(tone(1.0, 0.0, 440.0, 48_000, 1).len(), 44);
        assert_eq!(tone(1.0, -1.0, 440.0, 48_000, 0).len(), 44);
        assert_eq!(tone(1.0, f64::NAN, 440.0, 48_000, 1).len(), 44);
    }
}
