package rest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"gnomon/cloud/message"
	"gnomon/shadow/wire"
)

// millis is how AWS writes when a message was retained.
func millis(t time.Time) int64 { return t.UnixMilli() }

// getRetained answers GetRetainedMessage.
func (s *Server) getRetained(c echo.Context) error {
	ctx := c.Request().Context()
	m, err := s.cfg.Topics.Retained(ctx, s.principal(ctx), c.Param("*"))
	if err != nil {
		return contractError(c, err)
	}
	return c.JSON(http.StatusOK, struct {
		Topic            string `json:"topic"`
		Payload          []byte `json:"payload"` // base64, as encoding/json has it
		QoS              byte   `json:"qos"`
		LastModifiedTime int64  `json:"lastModifiedTime"`
		UserProperties   []byte `json:"userProperties,omitempty"`
	}{m.Topic, m.Payload, m.QoS, millis(m.Modified), userPropertiesText(m.User)})
}

func userPropertiesText(pairs []message.Pair) []byte {
	if len(pairs) == 0 {
		return nil
	}
	list := make([]map[string]string, len(pairs))
	for i, p := range pairs {
		list[i] = map[string]string{p.Key: p.Value}
	}
	text, _ := json.Marshal(list) // made of strings: can't fail
	return text
}

type retainedSummary struct {
	Topic            string `json:"topic"`
	PayloadSize      int    `json:"payloadSize"`
	QoS              byte   `json:"qos"`
	LastModifiedTime int64  `json:"lastModifiedTime"`
}

// listRetained answers ListRetainedMessages. The token is the last topic of the
// page before, opaque to clients.
func (s *Server) listRetained(c echo.Context) error {
	limit := 25
	if text := c.QueryParam("maxResults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 200 {
			return contractError(c, &wire.Error{Code: wire.CodeInvalidRequest, Message: "maxResults must be from 1 to 200"})
		}
		limit = n
	}
	after, err := base64.RawURLEncoding.DecodeString(c.QueryParam("nextToken"))
	if err != nil {
		return contractError(c, &wire.Error{Code: wire.CodeInvalidRequest, Message: "Invalid nextToken"})
	}
	ctx := c.Request().Context()
	list, next, err := s.cfg.Topics.ListRetained(ctx, s.principal(ctx), string(after), limit)
	if err != nil {
		return contractError(c, err)
	}
	out := struct {
		RetainedTopics []retainedSummary `json:"retainedTopics"`
		NextToken      string            `json:"nextToken,omitempty"`
	}{RetainedTopics: make([]retainedSummary, len(list))}
	for i, m := range list {
		out.RetainedTopics[i] = retainedSummary{m.Topic, m.Size, m.QoS, millis(m.Modified)}
	}
	if next != "" {
		out.NextToken = base64.RawURLEncoding.EncodeToString([]byte(next))
	}
	return c.JSON(http.StatusOK, out)
}
