// Balancer counts the packets of an interface by the NIC's flow hash, for as long as it runs:
// a small example of a program that embeds xdp-load and its own BPF object, with code that
// bpf2go has generated.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdp-load/xdp-load/loader"
	"github.com/xdp-load/xdp-load/nic"
)

// Debian keeps <asm/types.h> where "-target bpf" does not look: BPF2GO_CFLAGS says
// "-isystem /usr/include/x86_64-linux-gnu" there.
//
//go:generate go tool bpf2go -target bpfel,bpfeb -cc clang-19 -strip llvm-strip-19 balancer balancer.c -- -I../../bpf

// maxBuckets is that of balancer.c.
const maxBuckets = 64

func main() {
	iface := flag.String("iface", "", "interface to count packets on")
	layout := flag.String("layout", "", "file with the layout of the NIC's metadata, else it is looked for as xdp-load does")
	buckets := flag.Uint("buckets", 4, "number of buckets")
	interval := flag.Duration("interval", time.Second, "how often to print the counts")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *iface, *layout, *buckets, *interval); err != nil {
		log.SetFlags(0)
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer, iface, layout string, buckets uint, interval time.Duration) error {
	if buckets == 0 || buckets > maxBuckets {
		return fmt.Errorf("-buckets is %d, and has to be 1 to %d", buckets, maxBuckets)
	}
	opts, err := findSource(iface, layout)
	if err != nil {
		return err
	}
	opts.Variables = map[string]any{"buckets": uint32(buckets)}
	opts.Unpinned = true // it goes with this process

	loaded, err := loader.Load(bytes.NewReader(_BalancerBytes), opts)
	if err != nil {
		return err
	}
	defer loaded.Close()
	var objs balancerObjects
	if err := loaded.Assign(&objs); err != nil {
		return err
	}
	defer objs.Close()

	if err := loaded.Attach(); err != nil {
		return err
	}
	fmt.Fprintf(w, "counting on %s, %d accesses rewritten\n", iface, len(loaded.Report.Edits))
	for ticks := time.Tick(interval); ; {
		select {
		case <-ticks:
		case <-ctx.Done():
			return printCounts(w, &objs, buckets)
		}
		if err := printCounts(w, &objs, buckets); err != nil {
			return err
		}
	}
}

// findSource returns the options to load programs for an interface.
func findSource(iface, layoutFile string) (opts loader.Options, err error) {
	target, err := nic.ByName(iface)
	if err != nil {
		return opts, err
	}
	if layoutFile != "" {
		opts.Layout, err = nic.OpenLayout(layoutFile, "")
	} else {
		opts, err = loader.FindSource(target, nic.Search{}, new(loader.Driver))
	}
	opts.Interface = target.Interface
	return opts, err
}

// printCounts prints how many packets there are in each bucket, and last of how many the NIC
// has made no hash.
func printCounts(w io.Writer, objs *balancerObjects, buckets uint) error {
	for bucket := range uint32(buckets) {
		packets, err := count(objs, bucket)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%d:%d ", bucket, packets)
	}
	rest, err := count(objs, maxBuckets)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "no hash:%d\n", rest)
	return err
}

// count adds up what each CPU has counted.
func count(objs *balancerObjects, bucket uint32) (sum uint64, err error) {
	var each []uint64
	if err := objs.Packets.Lookup(bucket, &each); err != nil {
		return 0, err
	}
	for _, packets := range each {
		sum += packets
	}
	return sum, nil
}
