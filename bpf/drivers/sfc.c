// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//go:build ignore

/* sfc: Solarflare and AMD X2, 8000 and 7000 series (EF10). EF100 runs no XDP. */

#include "sfc.h"

MD_DRIVER("sfc");

/* How the NIC counts parts of a second: efx_ptp_get_attributes(), S27_MINOR_MAX. */
#define SFC_2_27 (1U << 27)
#define SFC_QUARTER_NS 4000000000U

#define NSEC_PER_SEC 1000000000ULL

/* efx_ptp_s27_to_ktime_correction() */
static __always_inline __u64 sfc_2_27_ns(__u32 major, __u32 minor, __s32 correction)
{
	minor += correction;
	if ((__s32)minor < 0) {
		minor += SFC_2_27;
		major--;
	} else if (minor >= SFC_2_27) {
		minor -= SFC_2_27;
		major++;
	}
	return major * NSEC_PER_SEC + (__u32)((minor * NSEC_PER_SEC + (1 << 26)) >> 27);
}

/* efx_ptp_s_qns_to_ktime_correction(): each of the two is rounded. */
static __always_inline __u64 sfc_quarter_ns(__u32 major, __u32 minor, __s32 correction)
{
	__u64 ns = major * NSEC_PER_SEC + (minor + 2) / 4;

	return correction < 0 ? ns - (2U - correction) / 4 : ns + (correction + 2U) / 4;
}

/*
 * __efx_rx_skb_attach_timestamp(): the prefix has the part of a second, and an event every
 * now and then the second. A stamp that is too far from the last event is none. There are
 * such events while stamps are on. The kernel keeps the function for the NIC's format;
 * minor_max has one number for each, too.
 */
MD_PACKET_FIELD(rx_timestamp, "the prefix in front of the packet, if hardware timestamps are on (hwstamp_ctl)",
		struct efx_rx_buffer *buffer, struct xdp_buff *xdp)
{
	struct efx_channel *channel = sfc_channel(xdp);
	__u32 minor, major, sync, max, diff;
	struct efx_ptp_data *ptp;
	__s32 correction;

	if (channel->sync_events_state != bpf_core_enum_value(enum efx_sync_events_state, SYNC_EVENTS_VALID))
		return 0;
	minor = sfc_prefix(xdp, channel->rx_queue.efx->rx_packet_ts_offset);
	barrier(); /* one after the other: what is kept over a load has seven registers */
	ptp = channel->rx_queue.efx->ptp_data;
	max = ptp->nic_time.minor_max;
	barrier();
	sync = channel->sync_timestamp_minor;
	diff = minor - sync + (minor < sync ? max : 0);
	major = channel->sync_timestamp_major + (sync >= max - diff);
	if (diff > ptp->nic_time.sync_event_diff_max) {
		if (diff < ptp->nic_time.sync_event_diff_min)
			return 0;
		major--;
	}
	correction = ptp->ts_corrections.general_rx;
	if (max == SFC_2_27)
		return sfc_2_27_ns(major, minor, correction);
	return max == SFC_QUARTER_NS ? sfc_quarter_ns(major, minor, correction) : 0;
}
