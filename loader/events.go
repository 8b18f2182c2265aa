//go:build linux

package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// events tells that something has changed of the interfaces in a network namespace, or of
// files.
type events struct {
	changed chan struct{} // has one when something has

	links   *netlink.Conn
	files   *os.File // inotify(7)
	inotify int      // its descriptor: File.Fd would make it block
}

// newEvents listens in the network namespace of the calling thread.
func newEvents() (_ *events, err error) {
	e := &events{changed: make(chan struct{}, 1)}
	if e.links, err = netlink.Dial(unix.NETLINK_ROUTE, nil); err != nil {
		return nil, err
	}
	if err := e.links.JoinGroup(unix.RTNLGRP_LINK); err != nil {
		e.links.Close()
		return nil, fmt.Errorf("listen to changes of interfaces: %w", err)
	}
	e.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		e.links.Close()
		return nil, fmt.Errorf("listen to changes of files: %w: ulimit -n, and sysctl fs.inotify.max_user_instances, say how many there may be", err)
	}
	e.files = os.NewFile(uintptr(e.inotify), "inotify")
	go e.forward(func() error {
		_, err := e.links.Receive()
		if errors.Is(err, unix.ENOBUFS) { // there were more than it holds
			return nil
		}
		return err
	})
	buffer := make([]byte, 64<<10)
	go e.forward(func() error {
		_, err := e.files.Read(buffer)
		return err
	})
	return e, nil
}

// forward tells of what is received until that fails, as when it is closed.
func (e *events) forward(receive func() error) {
	for receive() == nil {
		select {
		case e.changed <- struct{}{}:
		default: // it is known that there is something
		}
	}
}

// watchFiles tells of changes in the directories of files, which are replaced rather than
// written as a rule. What is no absolute path, or not there, is left out.
func (e *events) watchFiles(names ...string) {
	for _, name := range names {
		if !filepath.IsAbs(name) {
			continue
		}
		const changes = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM
		// The interval does where this is not possible.
		_, _ = unix.InotifyAddWatch(e.inotify, filepath.Dir(name), changes)
	}
}

// settle returns when nothing has changed for a while, and after a second at the latest.
func (e *events) settle(ctx context.Context) {
	latest := time.After(time.Second)
	for {
		select {
		case <-ctx.Done():
			return
		case <-latest:
			return
		case <-e.changed:
		case <-time.After(settled):
			return
		}
	}
}

func (e *events) close() {
	e.links.Close()
	e.files.Close()
}
