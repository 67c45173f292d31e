package rest

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"

	"gnomon/cloud/twin"
)

// closeGone is 410 as a WebSocket says it: the event to resume after is no
// longer kept, or the client was too slow for those that came.
const closeGone websocket.StatusCode = 4410

// watch streams what changes over a WebSocket (RFC 6455). It answers pages of
// other origins with 403: browsers let any page open a WebSocket.
func (s *Server) watch(c echo.Context) error {
	wants, err := s.wanted(c)
	if err != nil {
		return refuse(c, err)
	}
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	conn, err := websocket.Accept(c.Response(), c.Request(), &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil //nolint:nilerr // it has been answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(1 << 10)
	ctx, cancel := s.untilClosing(conn.CloseRead(c.Request().Context()))
	defer cancel()
	sub, err := s.cfg.Shadows.Watch(s.principal(ctx), resumeAfter(c))
	if errors.Is(err, twin.ErrEventGone) {
		return conn.Close(closeGone, "that event is no longer kept; read the shadows again and watch without after")
	}
	if err != nil {
		return conn.Close(websocket.StatusPolicyViolation, problem(err, false).Error())
	}
	socket := socketStream{conn: conn, wants: wants}
	code, reason := socket.follow(ctx, sub)
	_ = conn.Close(code, reason) // the client may have left already
	return nil
}

type socketStream struct {
	conn  *websocket.Conn
	wants func(twin.Event) bool
}

// mark moves the place to resume from past what was filtered out.
type mark struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // hello or idle
}

// send writes a message, also one that the end of the server comes in between: the
// connection breaks when a write is given up. A client that doesn't take it within the
// time is let go.
func (w *socketStream) send(ctx context.Context, message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return w.conn.Write(limited, websocket.MessageText, data)
}

// follow streams until there is a reason to close.
func (w *socketStream) follow(ctx context.Context, sub *twin.Subscription) (websocket.StatusCode, string) {
	err := w.send(ctx, mark{sub.Position(), "hello"})
	for err == nil {
		wait, cancel := context.WithTimeout(ctx, heartbeat)
		event, waited := sub.Next(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return websocket.StatusGoingAway, "the server ends"
		case errors.Is(waited, context.DeadlineExceeded):
			err = w.send(ctx, mark{sub.Position(), "idle"})
		case errors.Is(waited, twin.ErrEventGone):
			return closeGone, "too slow for the events; read the shadows again"
		case waited != nil:
			return websocket.StatusInternalError, "internal failure"
		case w.wants(event):
			err = w.send(ctx, event)
		}
	}
	return websocket.StatusPolicyViolation, "too slow"
}
