package rest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"gnomon/cloud/store"
	"gnomon/cloud/twin"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// shadowKey reads the shadow that a request of the data plane is about.
func shadowKey(c echo.Context) (store.Key, error) {
	key := store.Key{Thing: c.Param("thing"), Shadow: c.QueryParam("name")}
	if !wire.ValidThing(key.Thing) {
		return key, &wire.Error{Code: wire.CodeInvalidRequest, Message: "Invalid thing name: 1 to 128 of a-z, A-Z, 0-9, :, _ and -"}
	}
	if c.QueryParams().Has("name") && !wire.ValidShadow(key.Shadow) {
		return key, &wire.Error{Code: wire.CodeInvalidRequest, Message: "Invalid shadow name: 1 to 64 of $, a-z, A-Z, 0-9, :, _ and -"}
	}
	return key, nil
}

// body reads the body of a request about a shadow.
func (s *Server) body(r *http.Request) ([]byte, error) { return s.bounded(r, s.cfg.Limits.BodyBytes) }

// bounded reads a request's body up to limit bytes.
func (s *Server) bounded(r *http.Request, limit int) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	if err != nil {
		return nil, &wire.Error{Code: wire.CodeInvalidRequest, Message: "the body could not be read"}
	}
	if len(text) > limit {
		return nil, &shadow.LimitError{Field: "body", Limit: limit, Got: len(text)}
	}
	return text, nil
}

func (s *Server) getShadow(c echo.Context) error {
	key, err := shadowKey(c)
	if err != nil {
		return contractError(c, err)
	}
	ctx := c.Request().Context()
	d, err := s.cfg.Shadows.Get(ctx, s.principal(ctx), key)
	if err != nil {
		return contractError(c, err)
	}
	return c.JSONBlob(http.StatusOK, wire.AppendGet(nil, d, time.Now().Unix(), ""))
}

func (s *Server) updateShadow(c echo.Context) error {
	key, err := shadowKey(c)
	if err != nil {
		return contractError(c, err)
	}
	body, err := s.body(c.Request())
	if err != nil {
		return contractError(c, err)
	}
	u, err := shadow.ParseUpdate(body, s.cfg.Limits)
	if err != nil {
		return contractError(c, err)
	}
	ctx := c.Request().Context()
	d, err := s.cfg.Shadows.Update(ctx, s.principal(ctx), key, u)
	if err != nil {
		return contractError(c, err)
	}
	return c.JSONBlob(http.StatusOK, wire.AppendAccepted(nil, u, d))
}

func (s *Server) deleteShadow(c echo.Context) error {
	key, err := shadowKey(c)
	if err != nil {
		return contractError(c, err)
	}
	ctx := c.Request().Context()
	d, err := s.cfg.Shadows.Delete(ctx, s.principal(ctx), key, nil)
	if err != nil {
		return contractError(c, err)
	}
	return c.JSONBlob(http.StatusOK, wire.AppendDeleted(nil, d, ""))
}

// listNamedShadows answers ListNamedShadowsForThing. The token is the last name
// of the page before, opaque to clients.
func (s *Server) listNamedShadows(c echo.Context) error {
	thing := c.Param("thing")
	page := twin.Page{Limit: 25}
	if size := c.QueryParam("pageSize"); size != "" {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 || n > 100 {
			return contractError(c, &wire.Error{Code: wire.CodeInvalidRequest, Message: "pageSize must be from 1 to 100"})
		}
		page.Limit = n
	}
	after, err := base64.RawURLEncoding.DecodeString(c.QueryParam("nextToken"))
	if err != nil || !wire.ValidThing(thing) {
		return contractError(c, &wire.Error{Code: wire.CodeInvalidRequest, Message: "Invalid thing name or nextToken"})
	}
	page.After = string(after)
	ctx := c.Request().Context()
	names, next, err := s.cfg.Shadows.Named(ctx, s.principal(ctx), thing, page)
	if err != nil {
		return contractError(c, err)
	}
	if names == nil {
		names = []string{}
	}
	out := struct {
		Results   []string `json:"results"`
		NextToken string   `json:"nextToken,omitempty"`
		Timestamp int64    `json:"timestamp"`
	}{names, "", time.Now().Unix()}
	if next != "" {
		out.NextToken = base64.RawURLEncoding.EncodeToString([]byte(next))
	}
	return c.JSON(http.StatusOK, out)
}

// contractError answers as the data plane does. The body has no code: AWS
// clients take the exception's name from the header and choke on a number.
func contractError(c echo.Context, err error) error {
	code, message := wire.Rejection(err)
	c.Response().Header().Set("x-amzn-ErrorType", wire.ErrorName(code))
	return c.JSON(code, struct {
		Message string `json:"message"`
		Detail  string `json:"detail,omitempty"`
	}{message, wire.Detail(err)})
}

// dataPlane tells whether a path is the contract's rather than our own API's.
func dataPlane(path string) bool {
	for _, prefix := range []string{"/things/", "/api/things/", topicsPath, retainedPath} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// fail answers what the router or a middleware refused.
func (s *Server) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, detail := http.StatusInternalServerError, "Internal failure"
	var he *echo.HTTPError
	if errors.As(err, &he) {
		status = he.Code
		if text, ok := he.Message.(string); ok {
			detail = text
		}
	} else {
		s.cfg.Log.Error("request failed", "path", c.Path(), "error", err)
	}
	if dataPlane(c.Request().URL.Path) {
		err = contractError(c, &wire.Error{Code: status, Message: detail})
	} else {
		err = c.Blob(status, "application/problem+json", problemText(status, detail))
	}
	if err != nil {
		s.cfg.Log.Debug("answer not written", "error", err)
	}
}

func problemText(status int, detail string) []byte {
	text, _ := json.Marshal(newProblem(status, detail)) // made of strings: can't fail
	return text
}
