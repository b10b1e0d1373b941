package apitest

import (
	"context"
	"testing"

	"quarry/api"
	"quarry/api/client"
)

func TestSuite(t *testing.T) {
	impl := &echo{}
	runs := 0
	Suite[api.Storage](t, impl, Parts{Storage: impl}, func(m *client.MinerAPI) api.Storage { return m }, func(t *testing.T, s api.Storage) {
		runs++
		files, next, err := s.StorageFiles(context.Background(), "a", "b", 3)
		if err != nil || len(files) != 1 || files[0].Storage != "a" || next != "b+3" {
			t.Fatalf("%v %q, %v", files, next, err)
		}
	})
	if runs != 2 {
		t.Fatalf("ran %d times", runs)
	}
}
