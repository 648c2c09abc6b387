//! Which embedded yearly average belongs to a provider's zone: by the country code the zone begins with, never by where
//! the host seems to be.

use super::averages::{Average, zone};

/// ISO 3166-1 alpha-2 and alpha-3, side by side, of the countries in the embedded table.
const CODES: &str = "\
    AEARE AFAFG AGATG ALALB AMARM AOAGO ARARG ASASM ATAUT AUAUS AWABW AZAZE BABIH BBBRB BDBGD BEBEL BFBFA BGBGR \
    BHBHR BIBDI BJBEN BMBMU BNBRN BOBOL BRBRA BSBHS BTBTN BWBWA BYBLR BZBLZ CACAN CDCOD CGCOG CHCHE CICIV CKCOK \
    CLCHL CMCMR CNCHN COCOL CRCRI CUCUB CVCPV CYCYP CZCZE DEDEU DJDJI DKDNK DMDMA DODOM DZDZA ECECU EEEST EGEGY \
    EHESH ERERI ESESP ETETH FIFIN FJFJI FKFLK FOFRO FRFRA GAGAB GBGBR GDGRD GEGEO GFGUF GHGHA GIGIB GLGRL GMGMB \
    GNGIN GPGLP GQGNQ GRGRC GTGTM GUGUM GWGNB GYGUY HKHKG HNHND HRHRV HTHTI HUHUN IDIDN IEIRL ILISR ININD IQIRQ \
    IRIRN ISISL ITITA JMJAM JOJOR JPJPN KEKEN KGKGZ KHKHM KIKIR KMCOM KNKNA KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO \
    LBLBN LCLCA LKLKA LRLBR LSLSO LTLTU LULUX LVLVA LYLBY MAMAR MDMDA MEMNE MGMDG MKMKD MLMLI MMMMR MNMNG MOMAC \
    MQMTQ MRMRT MSMSR MTMLT MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ NANAM NCNCL NENER NGNGA NINIC NLNLD NONOR NPNPL \
    NRNRU NZNZL OMOMN PAPAN PEPER PFPYF PGPNG PHPHL PKPAK PLPOL PMSPM PRPRI PSPSE PTPRT PYPRY QAQAT REREU ROROU \
    RSSRB RURUS RWRWA SASAU SBSLB SCSYC SDSDN SESWE SGSGP SHSHN SISVN SKSVK SLSLE SNSEN SOSOM SRSUR SSSSD STSTP \
    SVSLV SYSYR SZSWZ TCTCA TDTCD TGTGO THTHA TJTJK TLTLS TMTKM TNTUN TOTON TRTUR TTTTO TWTWN TZTZA UAUKR UGUGA \
    USUSA UYURY UZUZB VCVCT VEVEN VGVGB VIVIR VNVNM VUVUT WSWSM YEYEM ZAZAF ZMZMB ZWZWE";

/// The yearly average of the country that a provider's zone lies in: the zone's part before the first `-` is an
/// ISO 3166-1 code (`DE`, `US-CAL-CISO`, `DK-DK1`), as Electricity Maps names zones, or the zone is one of the embedded
/// table's own (`DEU`, `USA-CA`). `None` where that is not so (WattTime's `CAISO_NORTH`): the name of a grid operator
/// tells no country.
pub fn average_of(provider_zone: &str) -> Option<&'static Average> {
    let country = provider_zone.split('-').next().unwrap_or_default();
    let by_two_letters = || {
        let pair = CODES.split_whitespace().find(|pair| pair[..2].eq_ignore_ascii_case(country))?;
        zone(&pair[2..])
    };
    zone(provider_zone).or_else(by_two_letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table() {
        for pair in CODES.split_whitespace() {
            assert_eq!(pair.len(), 5, "{pair}");
            assert!(zone(&pair[2..]).is_some(), "{pair}");
        }
    }

    #[test]
    fn a_zone_tells_its_country_or_nothing() {
        let cases = [
            ("DE", Some("DEU")),
            ("gb", Some("GBR")),
            ("US-CAL-CISO", Some("USA")),
            ("DK-DK1", Some("DNK")),
            ("USA-CA", Some("USA-CA")),
            ("DEU", Some("DEU")),
            ("CAISO_NORTH", None),
            ("", None),
            ("ZZ", None),
        ];
        for (provider_zone, expected) in cases {
            assert_eq!(average_of(provider_zone).map(|a| a.zone.as_str()), expected, "{provider_zone}");
        }
    }
}
