package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/internal/netlab"
	"github.com/xdp-load/xdp-load/loader"
)

// The program, built and run as a user does, counts packets in the bucket that the hash falls
// into which the NIC wrote in front of each. While it runs, others see what it is rewritten for;
// afterwards nothing is left.
func TestBalancer(t *testing.T) {
	netlab.NeedRoot(t)
	netlab.Need(t, netlab.LiveFrames)
	netlab.Need(t, netlab.LargeMetadata)
	balancer := filepath.Join(t.TempDir(), "balancer")
	if output, err := exec.Command("go", "build", "-o", balancer, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	endian := "el"
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		endian = "eb"
	}
	layout := "../../bpf/examples/nic_b-" + endian + ".o"
	frames := func(hashes ...uint32) (all []netlab.Frame) {
		for _, hash := range hashes {
			metadata := make([]byte, 32)
			metadata[1] = 1                                    // hash_type: of IPv4
			binary.NativeEndian.PutUint32(metadata[20:], hash) // as nic_b.c has it
			all = append(all, netlab.Frame{Metadata: metadata, Packet: make([]byte, 64)})
		}
		return all
	}

	ns := netlab.Enter(t)
	nic0, err := ns.AddNIC("nic0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		frames []netlab.Frame
		counts string
	}{
		{[]string{"-layout", layout}, frames(0, 1, 2, 3, 4, 7, 7, 0x80000001), "0:2 1:2 2:1 3:3 no hash:0"},
		{[]string{"-layout", layout, "-buckets", "3"}, frames(0, 1, 2, 3, 4, 7, 7, 11), "0:2 1:4 2:2 no hash:0"},
		{[]string{"-layout", layout}, []netlab.Frame{{Packet: make([]byte, 64)}}, "0:0 1:0 2:0 3:0 no hash:1"},
		{[]string{"-layout", layout}, append(frames(5), netlab.Frame{Metadata: make([]byte, 32), Packet: make([]byte, 64)}), "0:0 1:1 2:0 3:0 no hash:1"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			err := ns.Do(func() error {
				counts, err := runBalancer(balancer, append(c.args, "-iface", "nic0", "-interval", "1h"), func(pid int) error {
					return errors.Join(wantSeen(layout, pid), nic0.Deliver(c.frames))
				})
				if err == nil && counts != c.counts {
					err = fmt.Errorf("counts are %q instead of %q", counts, c.counts)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	if overview, err := loader.Survey(loader.SurveyOptions{}); err != nil || len(overview.Programs) > 0 {
		t.Errorf("left on interfaces is %+v, %v", overview, err)
	}
}

// runBalancer runs the program, calls meanwhile once it counts, ends it as a user does, and
// returns the last line that it prints.
func runBalancer(balancer string, args []string, meanwhile func(pid int) error) (last string, err error) {
	cmd := exec.Command(balancer, args...)
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(output)
	if !lines.Scan() {
		return "", errors.Join(errors.New("it says nothing"), cmd.Wait())
	}
	if want := "counting on nic0, 4 accesses rewritten"; lines.Text() != want {
		err = fmt.Errorf("it says %q instead of %q", lines.Text(), want)
	}
	err = errors.Join(err, meanwhile(cmd.Process.Pid), cmd.Process.Signal(unix.SIGTERM))
	for lines.Scan() {
		last = lines.Text()
	}
	return last, errors.Join(err, cmd.Wait())
}

// wantSeen wants Status to tell what the program was rewritten for, and whose it is.
func wantSeen(layout string, pid int) error {
	if !netlab.Has(netlab.BoundMaps) {
		return nil
	}
	attachments, _, err := loader.Status()
	if err != nil {
		return err
	}
	owner := fmt.Sprintf("balancer, process %d", pid)
	if len(attachments) != 1 || attachments[0].Program != "balance" || attachments[0].Record.Owner != owner || attachments[0].Record.Layout != layout {
		return fmt.Errorf("status is %+v instead of %s's, for layout %s", attachments, owner, layout)
	}
	return nil
}

// A number of buckets for which there is no room is refused before anything is loaded.
func TestBuckets(t *testing.T) {
	for _, buckets := range []uint{0, maxBuckets + 1} {
		err := run(t.Context(), os.Stdout, "lo", "", buckets, 0)
		if err == nil || !strings.Contains(err.Error(), "1 to 64") {
			t.Errorf("%d buckets: %v", buckets, err)
		}
	}
}
