//! The encodings that synthetic Flows have: what stores of broadcasters hold, with their own segment durations.

use std::num::NonZeroU32;

use crate::domain::essence::{AudioEssence, ContentFormat, DataEssence, InterlaceMode, MultiEssence, VideoEssence};
use crate::domain::{BitRate, Essence, Rational, Technical};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    Avc1080p50,
    Avc720p50,
    Avc360p25,
    Avc1080p25,
    Avc1080p2997,
    Hevc1080p50,
    Hevc2160p50,
    Aac,
    Aac2997,
    AacMp4,
    Pcm,
    Events,
    Programme,
}

/// How an encoding cuts and wraps its essence.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    pub name: &'static str,
    pub format: ContentFormat,
    codec: &'static str,
    /// Nothing for collections, which have no segments of their own.
    container: &'static str,
    /// Of the names of its files.
    pub extension: &'static str,
    /// Seconds of one frame (of video or AAC, or one sample of sound), as a ratio.
    pub frame: (u32, u32),
    pub frames_a_segment: u32,
    /// In units of 1,000 bit/s.
    pub bit_rate: u64,
    /// Whether media objects need an init object: fragmented MP4.
    pub has_init: bool,
}

const AVC: Cut = Cut {
    name: "1080p50",
    format: ContentFormat::Video,
    codec: "video/h264",
    container: "video/mp2t",
    extension: "ts",
    frame: (1, 50),
    frames_a_segment: 100,
    bit_rate: 8_000,
    has_init: false,
};
const HEVC: Cut =
    Cut { codec: "video/h265", container: "video/mp4", extension: "m4s", bit_rate: 5_000, has_init: true, ..AVC };
/// 90 frames of 1,024 samples are exactly 1.92 s.
const AAC: Cut = Cut {
    name: "stereo",
    format: ContentFormat::Audio,
    codec: "audio/aac",
    container: "video/mp2t",
    extension: "ts",
    frame: (1_024, 48_000),
    frames_a_segment: 90,
    bit_rate: 128,
    has_init: false,
};

impl Encoding {
    pub const COUNT: usize = Self::Programme as usize + 1;

    pub fn cut(self) -> Cut {
        match self {
            Self::Avc1080p50 => AVC,
            Self::Avc720p50 => Cut { name: "720p50", bit_rate: 3_500, ..AVC },
            Self::Avc360p25 => Cut { name: "360p25 proxy", frame: (1, 25), frames_a_segment: 50, bit_rate: 800, ..AVC },
            Self::Avc1080p25 => Cut {
                name: "1080p25",
                container: "video/mp4",
                extension: "m4s",
                frame: (1, 25),
                frames_a_segment: 50,
                bit_rate: 6_000,
                has_init: true,
                ..AVC
            },
            // 2.002 s.
            Self::Avc1080p2997 => {
                Cut { name: "1080p29.97", frame: (1_001, 30_000), frames_a_segment: 60, bit_rate: 7_000, ..AVC }
            }
            Self::Hevc1080p50 => HEVC,
            Self::Hevc2160p50 => Cut { name: "2160p50", bit_rate: 18_000, ..HEVC },
            Self::Aac => AAC,
            // As near to 2.002 s as whole frames come: their times are no whole nanoseconds.
            Self::Aac2997 => Cut { frames_a_segment: 94, ..AAC },
            Self::AacMp4 => Cut { container: "audio/mp4", extension: "m4s", has_init: true, ..AAC },
            Self::Pcm => Cut {
                name: "stereo PCM",
                codec: "audio/x-raw-int",
                container: "audio/wav",
                extension: "wav",
                frame: (1, 48_000),
                frames_a_segment: 96_000,
                bit_rate: 2_304,
                ..AAC
            },
            Self::Events => Cut {
                name: "events",
                format: ContentFormat::Data,
                codec: "application/json",
                container: "application/json",
                extension: "json",
                frame: (1, 1),
                frames_a_segment: 10,
                bit_rate: 1,
                has_init: false,
            },
            Self::Programme => Cut {
                name: "programme",
                format: ContentFormat::Multi,
                codec: "",
                container: "",
                extension: "",
                frame: (1, 1),
                frames_a_segment: 1,
                bit_rate: 0,
                has_init: false,
            },
        }
    }

    /// The technical metadata of a Flow. Errors: never, as the tests show.
    pub fn technical(self) -> anyhow::Result<Technical> {
        let cut = self.cut();
        let (seconds, parts) = cut.frame;
        let init_segments = cut.has_init.then_some(true);
        let has_segments = !cut.container.is_empty();
        let essence = match cut.format {
            ContentFormat::Video => {
                let (width, height) = match self {
                    Self::Hevc2160p50 => (3_840, 2_160),
                    Self::Avc720p50 => (1_280, 720),
                    Self::Avc360p25 => (640, 360),
                    _ => (1_920, 1_080),
                };
                Essence::Video(VideoEssence {
                    frame_width: whole(width),
                    frame_height: whole(height),
                    frame_rate: Some(Rational {
                        numerator: whole(parts),
                        denominator: (seconds > 1).then(|| whole(seconds)),
                    }),
                    vfr: None,
                    bit_depth: Some(whole(if self == Self::Hevc2160p50 { 10 } else { 8 })),
                    interlace_mode: Some(InterlaceMode::Progressive),
                    colorspace: None,
                    transfer_characteristic: None,
                    aspect_ratio: None,
                    pixel_aspect_ratio: None,
                    component_type: None,
                    horiz_chroma_subs: None,
                    vert_chroma_subs: None,
                    unc_parameters: None,
                    avc_parameters: None,
                    init_segments,
                })
            }
            ContentFormat::Audio => Essence::Audio(AudioEssence {
                sample_rate: whole(48_000),
                channels: whole(2),
                bit_depth: (self == Self::Pcm).then(|| whole(24)),
                codec_parameters: None,
                unc_parameters: None,
                init_segments,
            }),
            ContentFormat::Data | ContentFormat::Image => {
                Essence::Data(DataEssence { data_type: Some("urn:x-tamslake:synth:event".into()), init_segments })
            }
            ContentFormat::Multi => Essence::Multi(Some(MultiEssence { init_segments: None })),
        };
        let text = |text: &str| (!text.is_empty()).then(|| text.parse()).transpose();
        Ok(Technical {
            codec: text(cut.codec)?,
            container: text(cut.container)?,
            avg_bit_rate: has_segments.then(|| BitRate::try_from(cut.bit_rate)).transpose()?,
            segment_duration: has_segments.then(|| Rational {
                numerator: whole(seconds * cut.frames_a_segment),
                denominator: (parts > 1).then(|| whole(parts)),
            }),
            container_mapping: None,
            essence,
        })
    }
}

fn whole(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}
