package network

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// Reserve binds the node's ends of ports, on every address, and returns the
// sockets. For as long as one is open nobody else gets its port. A port that
// somebody has is workload.ErrPortTaken. They only hold the place, and refuse who
// arrives, unless a Forwarder takes them over.
func Reserve(ports []schema.Port) (sockets []*os.File, err error) {
	defer func() {
		if err != nil {
			Close(sockets)
			sockets = nil
		}
	}()
	for _, p := range ports {
		fd, err := bind(p)
		if errors.Is(err, unix.EADDRINUSE) {
			return sockets, fmt.Errorf("%w: run.ports: %d/%s is in use on this node", workload.ErrPortTaken, p.Host, p.Protocol)
		}
		if err != nil {
			return sockets, fmt.Errorf("run.ports: bind %d/%s: %w", p.Host, p.Protocol, err)
		}
		sockets = append(sockets, os.NewFile(uintptr(fd), fmt.Sprintf("port %d/%s", p.Host, p.Protocol)))
	}
	return sockets, nil
}

// Close gives ports back.
func Close(sockets []*os.File) {
	for _, s := range sockets {
		s.Close()
	}
}

// bind binds a port. Connections of a former owner may linger for a minute, and
// in front of those only somebody who listens gets it; else it is just held.
func bind(p schema.Port) (int, error) {
	fd, err := bindAll(p, false)
	if !errors.Is(err, unix.EADDRINUSE) || p.Protocol == "udp" {
		return fd, err
	}
	if fd, err = bindAll(p, true); err != nil {
		return -1, err
	}
	if err := unix.Listen(fd, 1); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// bindAll binds all addresses of both families, or of the one there is.
func bindAll(p schema.Port, reuse bool) (int, error) {
	fd, err := socket(unix.AF_INET6, p, reuse)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet6{Port: p.Host})
		}
		if err == nil {
			return fd, nil
		}
		_ = unix.Close(fd)
	}
	if !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return -1, err
	}
	if fd, err = socket(unix.AF_INET, p, reuse); err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: p.Host}); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func socket(family int, p schema.Port, reuse bool) (int, error) {
	kind := unix.SOCK_STREAM
	if p.Protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil || !reuse {
		return fd, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
