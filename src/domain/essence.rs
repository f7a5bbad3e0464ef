//! What a Flow carries: the five content formats and the parameters that each of them has.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::Rational;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ContentFormat {
    #[serde(rename = "urn:x-nmos:format:video")]
    Video,
    #[serde(rename = "urn:x-nmos:format:audio")]
    Audio,
    // The one URN of the five that belongs to TAMS rather than to NMOS.
    #[serde(rename = "urn:x-tam:format:image")]
    Image,
    #[serde(rename = "urn:x-nmos:format:data")]
    Data,
    #[serde(rename = "urn:x-nmos:format:multi")]
    Multi,
}

impl ContentFormat {
    pub const ALL: [Self; 5] = [Self::Video, Self::Audio, Self::Image, Self::Data, Self::Multi];

    pub fn urn(self) -> &'static str {
        match self {
            Self::Video => "urn:x-nmos:format:video",
            Self::Audio => "urn:x-nmos:format:audio",
            Self::Image => "urn:x-tam:format:image",
            Self::Data => "urn:x-nmos:format:data",
            Self::Multi => "urn:x-nmos:format:multi",
        }
    }

    pub fn from_urn(urn: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.urn() == urn)
    }
}

/// Essence parameters, by format. Unknown keys are refused: a misspelt parameter must not vanish.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Essence {
    Video(VideoEssence),
    Audio(AudioEssence),
    Image(ImageEssence),
    Data(DataEssence),
    /// A Flow of several essences; it may come without any parameters.
    Multi(Option<MultiEssence>),
}

impl Essence {
    pub fn format(&self) -> ContentFormat {
        match self {
            Self::Video(_) => ContentFormat::Video,
            Self::Audio(_) => ContentFormat::Audio,
            Self::Image(_) => ContentFormat::Image,
            Self::Data(_) => ContentFormat::Data,
            Self::Multi(_) => ContentFormat::Multi,
        }
    }

    /// Whether every media Object of the Flow needs an init Object (`init_segments: true`).
    pub fn init_segments(&self) -> Option<bool> {
        match self {
            Self::Video(video) => video.init_segments,
            Self::Audio(audio) => audio.init_segments,
            Self::Image(_) => None,
            Self::Data(data) => data.init_segments,
            Self::Multi(multi) => multi.as_ref().and_then(|multi| multi.init_segments),
        }
    }

    /// Frame width and height in pixels, of video.
    pub fn video_frame(&self) -> Option<(u32, u32)> {
        match self {
            Self::Video(video) => Some((video.frame_width.get(), video.frame_height.get())),
            _ => None,
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $(#[serde(rename = $word)] $variant),+ }
        impl $name {
            pub const WORDS: &'static [&'static str] = &[$($word),+];
        }
    };
}
words!(InterlaceMode {
    Progressive = "progressive",
    InterlacedTff = "interlaced_tff",
    InterlacedBff = "interlaced_bff",
    InterlacedPsf = "interlaced_psf",
});
words!(Colorspace { Bt601 = "BT601", Bt709 = "BT709", Bt2020 = "BT2020", Bt2100 = "BT2100" });
words!(TransferCharacteristic { Sdr = "SDR", Hlg = "HLG", Pq = "PQ" });
words!(ComponentType { YCbCr = "YCbCr", Rgb = "RGB" });
words!(
    /// Layout of uncompressed pixels.
    VideoUncType {
        Planar = "planar", Yuyv = "YUYV", Uyvy = "UYVY", Ayuv = "AYUV", V210 = "v210", V216 = "v216", Rgb = "RGB",
        Rgbx = "RGBx", Xrgb = "xRGB", Bgrx = "BGRx", Xbgr = "xBGR", Rgba = "RGBA", Argb = "ARGB", Bgra = "BGRA",
        Abgr = "ABGR", Alpha = "alpha",
    }
);
words!(
    /// Layout of uncompressed samples.
    AudioUncType { Interleaved = "interleaved", Planar = "planar", Pairs = "pairs" }
);

/// A ratio of which both parts must be given, such as a picture's aspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AspectRatio {
    pub numerator: NonZeroU32,
    pub denominator: NonZeroU32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvcParameters {
    pub profile: i64,
    pub level: i64,
    pub flags: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoUncParameters {
    pub unc_type: VideoUncType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioUncParameters {
    pub unc_type: AudioUncType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioCodecParameters {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coded_frame_size: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mp4_oti: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoEssence {
    /// Pixels.
    pub frame_width: NonZeroU32,
    /// Pixels.
    pub frame_height: NonZeroU32,
    /// Frames a second; given unless `vfr` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<Rational>,
    /// Variable frame rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vfr: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interlace_mode: Option<InterlaceMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colorspace: Option<Colorspace>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_characteristic: Option<TransferCharacteristic>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<AspectRatio>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_aspect_ratio: Option<AspectRatio>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component_type: Option<ComponentType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horiz_chroma_subs: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vert_chroma_subs: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unc_parameters: Option<VideoUncParameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avc_parameters: Option<AvcParameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_segments: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameRateRule {
    #[error("video needs frame_rate, or vfr: true where the frame rate varies")]
    Missing,
    #[error("frame_rate cannot be given together with vfr: true")]
    Both,
}

impl VideoEssence {
    /// Exactly one of a frame rate and `vfr: true` is given (TAMS 8.0 and later).
    pub fn check_frame_rate(&self) -> Result<(), FrameRateRule> {
        match (self.frame_rate, self.vfr.unwrap_or(false)) {
            (None, false) => Err(FrameRateRule::Missing),
            (Some(_), true) => Err(FrameRateRule::Both),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioEssence {
    /// Samples a second and channel.
    pub sample_rate: NonZeroU32,
    pub channels: NonZeroU32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec_parameters: Option<AudioCodecParameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unc_parameters: Option<AudioUncParameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_segments: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEssence {
    /// Pixels.
    pub frame_width: NonZeroU32,
    /// Pixels.
    pub frame_height: NonZeroU32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<AspectRatio>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataEssence {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_segments: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiEssence {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_segments: Option<bool>,
}
