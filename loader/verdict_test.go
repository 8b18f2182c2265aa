package loader

import (
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	for name, test := range map[string]struct {
		log     string
		slot    int
		located bool
		verdict string
	}{
		"call": {`0: R1=ctx() R10=fp0
; a line @ prog.c:3
12: (85) call unknown#195896080
invalid func unknown#195896080
processed 13 insns (limit 1000000)`, 12, true, "invalid func unknown#195896080"},

		"two lines": {`7: (61) r0 = *(u32 *)(r1 +8)
invalid access to packet, off=8 size=4, R1(id=0,off=8,r=0)
R1 offset is outside of the packet
processed 7 insns`, 7, true, "invalid access to packet, off=8 size=4, R1(id=0,off=8,r=0): R1 offset is outside of the packet"},

		"register": {`7: (61) r0 = *(u32 *)(r1 +8)
R1 invalid mem access 'scalar'
verification time 31 usec
stack depth 0
processed 7 insns`, 7, true, "R1 invalid mem access 'scalar'"},

		"control flow": {`unreachable insn 7
processed 0 insns`, 7, true, "unreachable insn 7"},

		"before any instruction": {`missing btf func_info
processed 0 insns`, 0, false, "missing btf func_info"},
	} {
		t.Run(name, func(t *testing.T) {
			log := strings.Split(test.log, "\n")
			if got := verdict(log); got != test.verdict {
				t.Errorf("Verdict %q instead of %q", got, test.verdict)
			}
			slot, located := failedInstruction(log)
			if slot != test.slot || located != test.located {
				t.Errorf("Instruction %d, %v instead of %d, %v", slot, located, test.slot, test.located)
			}
		})
	}
}
