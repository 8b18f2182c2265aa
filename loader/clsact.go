//go:build linux

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Without links for programs of TC, which are there since Linux 6.6, these are filters of a
// qdisc: of clsact, or of its forerunner ingress, which has no way out. An interface has one
// of them at most.

// filter is a program, or something else, that a qdisc asks about packets.
type filter struct {
	ifindex  int
	at       Hook
	priority uint16 // of several the lowest is asked first
	handle   uint32 // among those of its priority; 0 has the kernel choose
	program  ebpf.ProgramID
}

// Of include/uapi/linux/pkt_sched.h, pkt_cls.h and rtnetlink.h.
const (
	tcHandle     = 0xffff0000 // of the qdisc
	tcClsact     = 0xfffffff1 // TC_H_CLSACT, its parent
	tcaKind      = 1
	tcaOptions   = 2
	tcaBPFFD     = 6
	tcaBPFName   = 7
	tcaBPFFlags  = 8
	tcaBPFID     = 11
	tcaBPFDirect = 1 // TCA_BPF_FLAG_ACT_DIRECT: the program's result is the action
	sizeofTcmsg  = 20
)

// tcParents are what filters hang on: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), and EGRESS.
var tcParents = map[Hook]uint32{Ingress: 0xfffffff2, Egress: 0xfffffff3}

// The kinds of the qdisc.
const (
	clsactKind  = "clsact"
	ingressKind = "ingress"
)

// clsactInterfaces returns which interfaces have the qdisc, by number, and of which kind.
func clsactInterfaces() (map[int]string, error) {
	messages, err := askTC(unix.RTM_GETQDISC, netlink.Dump, tcMessage{})
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	kinds := make(map[int]string)
	for _, m := range messages {
		if kind := m.kind(); m.handle == tcHandle && (kind == clsactKind || kind == ingressKind) {
			kinds[m.ifindex] = kind
		}
	}
	return kinds, nil
}

// addClsact adds the qdisc to an interface, unless it is there.
func addClsact(ifindex int) error {
	_, err := askTC(unix.RTM_NEWQDISC, netlink.Create|netlink.Excl, tcMessage{ifindex: ifindex, handle: tcHandle, parent: tcClsact, attributes: kindAttribute(clsactKind)})
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// removeEmptyClsact removes the qdisc of an interface if no filter is left in it.
func removeEmptyClsact(ifindex int) {
	for at := range tcParents {
		if filters, err := filtersAt(ifindex, at); err != nil || len(filters) > 0 {
			return
		}
	}
	_, _ = askTC(unix.RTM_DELQDISC, 0, tcMessage{ifindex: ifindex, handle: tcHandle, parent: tcClsact})
}

// filtersAt returns the filters of a hook, in the order in which they are asked.
func filtersAt(ifindex int, at Hook) ([]filter, error) {
	messages, err := askTC(unix.RTM_GETTFILTER, netlink.Dump, tcMessage{ifindex: ifindex, parent: tcParents[at]})
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	var filters []filter
	for _, m := range messages {
		if m.handle == 0 && m.kind() == bpfKind {
			continue // not one, but what has those of its priority
		}
		filters = append(filters, filter{ifindex: ifindex, at: at, priority: uint16(m.info >> 16), handle: m.handle, program: m.program()})
	}
	return filters, nil
}

// firstPriority is what the kernel gives the first filter of which nothing else is said
// (tcf_auto_prio in net/sched/cls_api.c). One after it is put in front of that.
const firstPriority = 0xc000

// behindOthers returns a priority for a filter that those that are there are asked before.
func behindOthers(ifindex int, at Hook) (uint16, error) {
	filters, err := filtersAt(ifindex, at)
	if err != nil {
		return 0, err
	}
	last := uint16(firstPriority - 1)
	for _, f := range filters {
		last = max(last, f.priority)
	}
	if last == math.MaxUint16 {
		return 0, errors.New("no priority is left behind that of the filters that are there")
	}
	return last + 1, nil
}

// filterOf returns the filter of a program, nil if there is none.
func filterOf(ifindex int, at Hook, program ebpf.ProgramID) (*filter, error) {
	filters, err := filtersAt(ifindex, at)
	if err != nil {
		return nil, err
	}
	found := slices.IndexFunc(filters, func(f filter) bool { return f.program == program })
	if found < 0 {
		return nil, nil
	}
	return &filters[found], nil
}

// add adds a program's filter. It does not go with the process. One that is there, of the same
// priority and handle, is replaced.
func (f *filter) add(program *ebpf.Program) error { return f.put(program, netlink.Create) }

// replace has a filter that is there ask another program, in one step.
func (f *filter) replace(program *ebpf.Program) error { return f.put(program, 0) }

func (f *filter) put(program *ebpf.Program, flags netlink.HeaderFlags) error {
	options := netlink.NewAttributeEncoder()
	options.Uint32(tcaBPFFD, uint32(program.FD()))
	options.String(tcaBPFName, "xdp-load")
	options.Uint32(tcaBPFFlags, tcaBPFDirect)
	data, err := options.Encode()
	if err != nil {
		return err
	}
	attributes := append(kindAttribute(bpfKind), netlink.Attribute{Type: tcaOptions | unix.NLA_F_NESTED, Data: data})
	_, err = askTC(unix.RTM_NEWTFILTER, flags, f.message(attributes))
	return err
}

func (f *filter) remove() error {
	_, err := askTC(unix.RTM_DELTFILTER, 0, f.message(kindAttribute(bpfKind)))
	return err
}

func (f *filter) message(attributes []netlink.Attribute) tcMessage {
	// The protocol is in network byte order.
	var protocol [2]byte
	binary.BigEndian.PutUint16(protocol[:], unix.ETH_P_ALL)
	info := uint32(f.priority)<<16 | uint32(binary.NativeEndian.Uint16(protocol[:]))
	return tcMessage{ifindex: f.ifindex, handle: f.handle, parent: tcParents[f.at], info: info, attributes: attributes}
}

// bpfKind is the kind of filter that is a program.
const bpfKind = "bpf"

func kindAttribute(kind string) []netlink.Attribute {
	return []netlink.Attribute{{Type: tcaKind, Data: []byte(kind + "\x00")}}
}

// tcMessage is a struct tcmsg of rtnetlink(7) with its attributes.
type tcMessage struct {
	ifindex              int
	handle, parent, info uint32
	attributes           []netlink.Attribute
}

// kind returns what a qdisc or a filter is called, empty if the kernel does not say it.
func (m *tcMessage) kind() string { return string(trimNUL(attribute(m.attributes, tcaKind))) }

// program returns the program of a filter, 0 if it has none.
func (m *tcMessage) program() ebpf.ProgramID {
	if m.kind() != bpfKind {
		return 0
	}
	options, err := netlink.UnmarshalAttributes(attribute(m.attributes, tcaOptions))
	if err != nil {
		return 0
	}
	id := attribute(options, tcaBPFID)
	if len(id) != 4 {
		return 0
	}
	return ebpf.ProgramID(binary.NativeEndian.Uint32(id))
}

func attribute(attributes []netlink.Attribute, kind uint16) []byte {
	for _, a := range attributes {
		if a.Type == kind {
			return a.Data
		}
	}
	return nil
}

func trimNUL(text []byte) []byte { return text[:max(0, len(text)-1)] }

// askTC asks rtnetlink(7), and returns its answer. If it refuses, the reason is in a
// *netlink.OpError, as far as there is one.
func askTC(kind netlink.HeaderType, flags netlink.HeaderFlags, m tcMessage) ([]tcMessage, error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetOption(netlink.ExtendedAcknowledge, true); err != nil {
		return nil, err
	}
	data := make([]byte, sizeofTcmsg)
	for i, word := range []uint32{1: uint32(m.ifindex), m.handle, m.parent, m.info} {
		binary.NativeEndian.PutUint32(data[4*i:], word)
	}
	encoded, err := netlink.MarshalAttributes(m.attributes)
	if err != nil {
		return nil, err
	}
	if flags&netlink.Dump != netlink.Dump {
		flags |= netlink.Acknowledge
	}
	messages, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | flags},
		Data:   append(data, encoded...),
	})
	if err != nil {
		return nil, err
	}
	var answer []tcMessage
	for _, message := range messages {
		if len(message.Data) < sizeofTcmsg {
			continue // the acknowledgement
		}
		m, err := parseTC(message.Data)
		if err != nil {
			return nil, err
		}
		answer = append(answer, m)
	}
	return answer, nil
}

func parseTC(data []byte) (tcMessage, error) {
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(data[at:]) }
	m := tcMessage{ifindex: int(int32(word(4))), handle: word(8), parent: word(12), info: word(16)}
	attributes, err := netlink.UnmarshalAttributes(data[sizeofTcmsg:])
	for i := range attributes {
		attributes[i].Type &^= unix.NLA_F_NESTED
	}
	m.attributes = attributes
	return m, err
}
