package pull

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// methodCancel ends the context of a call; go-jsonrpc's clients send it too.
const methodCancel = "xrpc.cancel"

// Codes of JSON-RPC for calls that are not passed on.
const (
	codeParse   = -32700
	codeInvalid = -32600
	codeBusy    = -32000
)

// maxID bounds the id of a call, bytes.
const maxID = 128

// message is a call or an answer.
type message struct {
	Jsonrpc string            `json:"jsonrpc"`
	ID      json.RawMessage   `json:"id,omitempty"`
	Method  string            `json:"method,omitempty"`
	Params  json.RawMessage   `json:"params,omitempty"`
	Meta    map[string]string `json:"meta,omitempty"`
	Result  json.RawMessage   `json:"result,omitempty"`
	Error   json.RawMessage   `json:"error,omitempty"`
}

// hasID tells a call from a notification.
func (m message) hasID() bool { return len(m.ID) > 0 && string(m.ID) != "null" }

// renumbered is a call of a client of ours under another id; own is the id that
// its answer must have.
func renumbered(call []byte, id uint64) (out []byte, own json.RawMessage, err error) {
	var m message
	if err := json.Unmarshal(call, &m); err != nil {
		return nil, nil, fmt.Errorf("call for the link: %w", err)
	}
	if !m.hasID() || m.Method == "" {
		return nil, nil, errors.New("call for the link: it has no id or no method")
	}
	own, m.ID = m.ID, strconv.AppendUint(nil, id, 10)
	out, err = json.Marshal(m)
	return out, own, err
}

// numberOf is the id of an answer to a renumbered call.
func numberOf(m message) (uint64, bool) {
	n, err := strconv.ParseUint(string(m.ID), 10, 64)
	return n, err == nil
}

// answerWith is an answer under the id of its caller.
func answerWith(m message, own json.RawMessage) ([]byte, error) {
	m.Jsonrpc, m.ID = "2.0", own
	if m.Error == nil && m.Result == nil {
		m.Result = json.RawMessage("null")
	}
	return json.Marshal(m)
}

func cancelOf(id uint64) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","method":%q,"params":[%d]}`, methodCancel, id)
}

// refusal answers a call that is not passed on.
func refusal(id json.RawMessage, code int, reason string) []byte {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	text, err := json.Marshal(reason)
	if err != nil { // a string
		text = []byte(`""`)
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":%s}}`, id, code, text)
}

// inHeader writes v so that a header carries it.
func inHeader(v any) (string, error) {
	b, err := json.Marshal(v)
	return base64.StdEncoding.EncodeToString(b), err
}

func fromHeader(s string, v any) error {
	if s == "" {
		return errors.New("it does not say who it is")
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
