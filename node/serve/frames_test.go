package serve

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// frame is one of a client, with the announced size and a mask that is not zero.
func frame(op byte, fin bool, size uint64, payload []byte) []byte {
	b := appendHead(nil, op, fin, true, 0)[:2]
	b[1] = 0x80
	switch {
	case size < 126:
		b[1] |= byte(size)
	case size < 1<<16:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(size))
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, size)
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	masked := bytes.Clone(payload)
	unmask(masked, mask)
	return append(b, masked...)
}

func full(op byte, fin bool, n int) []byte {
	return frame(op, fin, uint64(n), bytes.Repeat([]byte("x"), n))
}

func readAll(stream []byte) (messages, controls [][]byte, owes bool, err error) {
	m := messageReader{r: bufio.NewReader(bytes.NewReader(stream)), limit: 1000, owes: func(on bool) { owes = on }}
	for {
		message, control, err := m.next()
		if err != nil {
			return messages, controls, owes, err
		}
		if control != nil {
			controls = append(controls, control)
		} else {
			messages = append(messages, message)
		}
	}
}

func TestMessagesOfAClient(t *testing.T) {
	cat := func(b ...[]byte) []byte { return bytes.Join(b, nil) }
	for name, c := range map[string]struct {
		stream             []byte
		messages, controls int
		owes               bool
	}{
		"small":             {full(1, true, 5), 1, 0, false},
		"empty":             {full(1, true, 0), 1, 0, false},
		"exact":             {full(2, true, 1000), 1, 0, false},
		"over":              {frame(1, true, 1001, nil), 0, 0, true},
		"absurd":            {frame(2, true, 1<<63, nil), 0, 0, true},
		"fragments":         {cat(full(1, false, 600), full(0, true, 400)), 1, 0, false},
		"fragments over":    {cat(full(1, false, 600), full(0, true, 401)), 0, 0, true},
		"control between":   {cat(full(1, false, 900), full(9, true, 125), full(0, true, 100)), 1, 1, false},
		"control over":      {full(9, true, 126), 0, 0, true},
		"control in parts":  {full(9, false, 5), 0, 0, true},
		"many":              {bytes.Repeat(full(1, true, 900), 20), 20, 0, false},
		"continues nothing": {full(0, true, 5), 0, 0, true},
		"begins twice":      {cat(full(1, false, 5), full(1, true, 5)), 0, 0, true},
		"unknown opcode":    {full(3, true, 5), 0, 0, true},
		"unknown control":   {full(11, true, 5), 0, 0, true},
		"reserved bits":     {full(0x41, true, 5), 0, 0, true},
		"not masked":        {[]byte{0x81, 1, 'x'}, 0, 0, true},
		"cut":               {full(1, true, 100)[:50], 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			messages, controls, owes, err := readAll(c.stream)
			require.Error(t, err)
			require.Len(t, messages, c.messages)
			require.Len(t, controls, c.controls)
			require.Equal(t, c.owes, owes)
			for _, m := range messages {
				require.Equal(t, "", string(bytes.Trim(m, "x")))
			}
		})
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(full(1, true, 900))
	f.Add(append(full(1, false, 200), full(9, true, 3)...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		messages, controls, _, err := readAll(stream)
		require.Error(t, err)
		total := 0
		for _, m := range messages {
			require.LessOrEqual(t, len(m), 1000)
			total += len(m)
		}
		for _, c := range controls {
			total += len(c)
		}
		require.LessOrEqual(t, total, len(stream))
	})
}
