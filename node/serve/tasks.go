package serve

import (
	"context"
	"slices"

	"quarry/api"
)

// taskReader gives those who may read, but not have tasks done, what may be shown
// of one: its parameters and its result hold bearers of others.
type taskReader struct{ api.Tasks }

func readable(i api.Storage) api.Tasks {
	if i == nil {
		return nil // it runs elsewhere
	}
	return taskReader{i}
}

func (r taskReader) shown(ctx context.Context, t api.TaskStatus) api.TaskStatus {
	if slices.Contains(Permissions(ctx), api.PermTasks) {
		return t
	}
	return t.Summary()
}

// TaskGet gives a task's status.
func (r taskReader) TaskGet(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	t, err := r.Tasks.TaskGet(ctx, id)
	return r.shown(ctx, t), err
}

// TaskWait gives a task's status when it is final, or after a while.
func (r taskReader) TaskWait(ctx context.Context, id api.UUID) (api.TaskStatus, error) {
	t, err := r.Tasks.TaskWait(ctx, id)
	return r.shown(ctx, t), err
}
