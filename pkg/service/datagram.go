package service

import (
	"fmt"
	"os"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"

	"golang.org/x/sys/unix"
)

// Sizes of the datagram server, in bytes.
const (
	maxDatagram    = 4096      // what one datagram may bring; the rest of it is lost
	datagramBuffer = 64 * 1024 // what is read before it is handled
)

// runDatagrams serves datagrams until there is a reason to leave, and does not
// return. Whatever is in the socket's queue is read before it is handled.
func (s *server) runDatagrams(fd int) {
	if err := unix.SetNonblock(fd, true); err != nil {
		maillog.Fatalf("socket %d: %s", fd, syserr.Text(err))
	}
	f := os.NewFile(uintptr(fd), "datagram socket")
	raw, err := f.SyscallConn()
	if err != nil {
		maillog.Fatalf("socket %d: %v", fd, err)
	}
	stop := func() {
		s.drain(false)
		// Ends the wait below.
		if err := f.SetReadDeadline(time.Unix(1, 0)); err != nil {
			s.p.exit(s.d)
		}
	}
	if s.maxIdle > 0 {
		s.idle = time.AfterFunc(s.maxIdle, func() {
			maillog.Debugf("idle timeout -- exiting")
			stop()
		})
	}
	go func() {
		s.p.master.await()
		maillog.Debugf("master disconnect -- exiting")
		stop()
	}()
	buf := make([]byte, datagramBuffer)
	var packets [][]byte
	for {
		packets = packets[:0]
		var failure error
		err := raw.Read(func(fd uintptr) bool {
			packets, failure = receive(int(fd), buf, packets)
			return failure != unix.EAGAIN || len(packets) > 0
		})
		if len(packets) > 0 {
			s.handlePackets(packets)
			if s.idle != nil {
				s.idle.Reset(s.maxIdle)
			}
		}
		if failure != nil && failure != unix.EAGAIN {
			maillog.Warnf("failed to receive message with recv: %s", syserr.Text(failure))
		}
		if err != nil || s.isClosing() {
			s.p.exit(s.d)
		}
	}
}

// receive reads all packets that are there and that fit the buffer.
func receive(fd int, buf []byte, packets [][]byte) ([][]byte, error) {
	for len(buf) >= maxDatagram {
		n, _, err := unix.Recvfrom(fd, buf[:maxDatagram], unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return packets, err
		case n > 0:
			packets = append(packets, buf[:n:n])
			buf = buf[n:]
		}
	}
	return packets, nil
}

func (s *server) handlePackets(packets [][]byte) {
	defer s.recovered(fmt.Sprintf("%d datagrams", len(packets)))
	maillog.Debugf("dgram_server_accept: request arrived")
	if s.d.Packets != nil {
		s.d.Packets(s.p, packets)
	} else {
		for _, packet := range packets {
			s.d.Datagram(s.p, packet)
		}
	}
	s.mu.Lock()
	first := !s.reported
	s.reported = true
	s.uses += len(packets)
	spent := s.spent()
	s.mu.Unlock()
	if first && (s.p.master.report(Taken) != nil || s.p.master.report(Available) != nil) || spent {
		s.drain(false)
	}
}
