// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

/*
 * The types of tsnep, out of its own headers. What those include is in vmlinux.h, but for
 * these macros.
 */
#include "vmlinux.h"

#define BIT(n) (1UL << (n))
#define GENMASK(high, low) (~0UL << (low) & ~0UL >> (63 - (high)))
#define DECLARE_BITMAP(name, bits) unsigned long name[((bits) + 63) / 64]
#define IS_ENABLED(option) 0
#define __iomem
#define ETH_ALEN 6
#define IFNAMSIZ 16
#define PAGE_SIZE 4096
#define SZ_2K 2048
#define EOPNOTSUPP 95
#define DEFINE_DMA_UNMAP_ADDR(name) dma_addr_t name
#define DEFINE_DMA_UNMAP_LEN(name) __u32 name

#include "tsnep.h"

struct net_device device;
struct tsnep_adapter adapter;
struct tsnep_rx_inline stamps;
struct xdp_buff buff;
