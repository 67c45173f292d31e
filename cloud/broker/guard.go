package broker

import (
	"errors"
	"fmt"
	"net"

	"gnomon/mqttguard"
)

// newGuard returns the listener between the network and mochi, which survives
// what packets do to mochi, and bounds who may come in.
func newGuard(cfg Config, b *Broker) *mqttguard.Listener {
	return mqttguard.New(mqttguard.Config{
		Address: cfg.Address, HalfOpen: cfg.HalfOpen,
		Wrap: func(conn net.Conn, connected func()) mqttguard.Guarded {
			return newGuardedConn(conn, cfg, b.metrics, connected)
		},
		Refused: func(reason string) { b.metrics.refused.WithLabelValues(reason).Inc() },
		Malformed: func(g mqttguard.Guarded, cause any, stack []byte) {
			c := g.(*guardedConn)
			b.metrics.panics.Inc()
			cfg.Log.Warn("malformed packet", "remote", c.RemoteAddr(), "cause", fmt.Sprint(cause), "stack", string(stack))
			b.exorcise(c)
		},
		Ended: func(g mqttguard.Guarded, err error) { b.ended(g.(*guardedConn), err) },
	})
}

// ended lets go of what a connection had.
func (b *Broker) ended(c *guardedConn, err error) {
	if err != nil {
		b.cfg.Log.Debug("connection ended", "remote", c.RemoteAddr(), "error", err)
	}
	if s := b.sessionOf(c); s != nil {
		s.window.established() // if it never was: nothing that was missed may get lost
		b.sessions.Delete(s.client)
	}
}

// exorcise removes what a connection that panicked has left in mochi.
func (b *Broker) exorcise(c *guardedConn) {
	s := b.sessionOf(c)
	if s == nil {
		return
	}
	cl := s.client
	b.sessions.Delete(cl)
	cl.Stop(errors.New("malformed packet"))
	b.server.UnsubscribeClient(cl)
	cl.ClearInflights()
	if current, ok := b.server.Clients.Get(cl.ID); ok && current == cl {
		b.server.Clients.Delete(cl.ID)
	}
}

func (b *Broker) sessionOf(c *guardedConn) *session {
	if c.session == nil {
		return nil
	}
	return c.session
}
