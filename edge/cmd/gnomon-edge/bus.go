package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gnomon/edge/bus"
	"gnomon/edge/bus/devices"
	"gnomon/edge/bus/uplink"
	"gnomon/edge/local"
	"gnomon/schema"
)

// nodeBus is MQTT on the node, the shadows of its devices, and the connection over
// which it speaks for them.
type nodeBus struct {
	bus     *bus.Bus
	devices *devices.Devices
	uplink  *uplink.Uplink
	log     *slog.Logger
	problem atomic.Pointer[error] // why it doesn't listen
}

// serveDevices puts the bus together, if there shall be one, and returns who is
// to be told which devices the node speaks for.
func (a *agent) serveDevices() (func(*schema.NodeDevices), error) {
	if a.cfg.Bus == "" {
		return nil, nil
	}
	b, err := bus.New(bus.Config{Address: a.cfg.Bus, Bridge: a.cfg.Bridge.Name, Log: a.log})
	if err != nil {
		return nil, err
	}
	d, err := devices.New(devices.Config{Store: a.state, Epoch: a.state, Publish: b.Publish, Now: a.now, Log: a.log})
	if err != nil {
		return nil, err
	}
	b.SetShadows(d)
	a.bus = &nodeBus{bus: b, devices: d, log: a.log, uplink: uplink.New(uplink.Config{Node: a.cfg.Node, Devices: d, Dial: a.dial, Log: a.log})}
	all, _ := a.link.Desired()
	for _, shadow := range all { // so that they are served from the first moment, by what is on disk
		if wanted := shadow.Value.Get(schema.NodeMember); shadow.Name == "" && wanted != nil {
			if n, err := schema.ParseNode(wanted.AppendJSON(nil)); err == nil {
				d.Serve(n.Devices)
			}
		}
	}
	return d.Serve, nil
}

// busPause is how long to wait for an address that somebody else has.
const busPause = 10 * time.Second

// Run serves until ctx ends. An address that is taken is waited for: what the
// node runs matters more.
func (l *nodeBus) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.uplink.Run(ctx) })
	g.Go(func() error {
		for {
			address, err := l.bus.Listen()
			if err == nil {
				l.problem.Store(nil)
				l.log.Info("bus", "address", address.String())
				return l.bus.Run(ctx)
			}
			l.problem.Store(&err)
			l.log.Error("bus can't listen", "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(busPause):
			}
		}
	})
	return g.Wait()
}

// status is how they are; nil without a bus.
func (l *nodeBus) status() *local.Bus {
	if l == nil {
		return nil
	}
	problem := ""
	if err := l.problem.Load(); err != nil {
		problem = (*err).Error()
	}
	return &local.Bus{Problem: problem, MQTT: l.bus.Status(), Devices: l.devices.Status(), Uplink: l.uplink.Status()}
}

func printBus(w io.Writer, s *local.Bus) {
	if s == nil {
		return
	}
	if s.Problem != "" {
		fmt.Fprintf(w, "no bus: %s\n", s.Problem)
		return
	}
	fmt.Fprintf(w, "bus on %s: %d clients, %d shadows of devices, %d not yet taken by the cloud\n",
		strings.Join(s.MQTT.Addresses, ", "), s.MQTT.Clients, s.Devices.Shadows, s.Devices.Waiting)
	for _, r := range s.Devices.Refused {
		fmt.Fprintf(w, "the cloud refuses %s\n", r)
	}
}
