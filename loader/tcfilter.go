//go:build linux

package loader

import (
	"encoding/binary"
	"errors"

	"github.com/cilium/ebpf"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// tcFilter is a TC program on the way in, for kernels without links for that (before 6.6). It
// does not go with the process; the next one of the handle replaces it.
type tcFilter struct {
	ifindex  int
	addQdisc bool // whether add has made what the filter hangs on
}

// Of include/uapi/linux/pkt_sched.h, pkt_cls.h and rtnetlink.h.
const (
	tcHandle      = 0xffff0000 // of an ingress or clsact qdisc, of which there is one
	tcClsact      = 0xfffffff1 // TC_H_CLSACT
	tcIngress     = 0xfffffff2 // TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
	tcFirst       = 1 << 16    // the filter's priority, above its protocol
	tcOwnHandle   = 0x78647031 // the filter's, among those of its priority
	tcaKind       = 1
	tcaOptions    = 2
	tcaBPFFD      = 6
	tcaBPFName    = 7
	tcaBPFFlags   = 8
	tcaBPFDirect  = 1 // the program's result is the action
	sizeofTcmsg   = 20
	protocolOfAny = unix.ETH_P_ALL
)

// add attaches a program, in front of the filters of other priorities.
func (f *tcFilter) add(program *ebpf.Program) error {
	clsact := []netlink.Attribute{{Type: tcaKind, Data: []byte("clsact\x00")}}
	err := f.request(unix.RTM_NEWQDISC, netlink.Create|netlink.Excl, tcHandle, tcClsact, 0, clsact)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	f.addQdisc = err == nil
	err = f.request(unix.RTM_NEWTFILTER, netlink.Create, tcOwnHandle, tcIngress, tcFilterInfo(), f.attributes(program))
	if err != nil {
		f.removeQdisc()
	}
	return err
}

func (f *tcFilter) attributes(program *ebpf.Program) []netlink.Attribute {
	options := netlink.NewAttributeEncoder()
	options.Uint32(tcaBPFFD, uint32(program.FD()))
	options.String(tcaBPFName, "xdp-load")
	options.Uint32(tcaBPFFlags, tcaBPFDirect)
	data, err := options.Encode()
	if err != nil {
		panic(err) // too long for an attribute
	}
	return []netlink.Attribute{
		{Type: tcaKind, Data: []byte("bpf\x00")},
		{Type: tcaOptions | unix.NLA_F_NESTED, Data: data},
	}
}

// remove detaches the program, and what add has made for it.
func (f *tcFilter) remove() {
	_ = f.request(unix.RTM_DELTFILTER, 0, tcOwnHandle, tcIngress, tcFilterInfo(), []netlink.Attribute{{Type: tcaKind, Data: []byte("bpf\x00")}})
	f.removeQdisc()
}

func (f *tcFilter) removeQdisc() {
	if f.addQdisc {
		_ = f.request(unix.RTM_DELQDISC, 0, tcHandle, tcClsact, 0, nil)
	}
}

// tcFilterInfo returns the priority and the protocol, which is in network byte order.
func tcFilterInfo() uint32 {
	var protocol [2]byte
	binary.BigEndian.PutUint16(protocol[:], protocolOfAny)
	return tcFirst | uint32(binary.NativeEndian.Uint16(protocol[:]))
}

// request asks rtnetlink(7) for something with a struct tcmsg.
func (f *tcFilter) request(kind netlink.HeaderType, flags netlink.HeaderFlags, handle, parent, info uint32, attributes []netlink.Attribute) error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	data := make([]byte, sizeofTcmsg)
	for i, word := range []uint32{1: uint32(f.ifindex), handle, parent, info} {
		binary.NativeEndian.PutUint32(data[4*i:], word)
	}
	encoded, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		return err
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append(data, encoded...),
	})
	return err
}
