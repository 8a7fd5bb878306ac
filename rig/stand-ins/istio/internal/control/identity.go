package control

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ztlab.rig/istio/internal/names"
)

// reviewedFor is how long a reviewed token is believed without asking the API server again: proxies show it with
// every request, several times a minute.
const reviewedFor = time.Minute

// podNameKey is where a review says which pod a projected token was made for.
const podNameKey = "authentication.kubernetes.io/pod-name"

// Caller is who a token belongs to, as the API server says.
type Caller struct {
	Namespace      string
	ServiceAccount string
	Pod            string
}

// Identity is what the caller's certificate says.
func (caller Caller) Identity() string {
	return names.Identity(caller.Namespace, caller.ServiceAccount)
}

// Reviewer finds out who sends a request.
type Reviewer struct {
	client kubernetes.Interface

	mutex    sync.Mutex
	reviewed map[[sha256.Size]byte]review
}

type review struct {
	caller Caller
	until  time.Time
}

// NewReviewer makes a reviewer that asks this API server.
func NewReviewer(client kubernetes.Interface) *Reviewer {
	return &Reviewer{client: client, reviewed: map[[sha256.Size]byte]review{}}
}

// Caller reviews the request's bearer token.
func (reviewer *Reviewer) Caller(request *http.Request) (Caller, error) {
	token, found := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	if !found {
		return Caller{}, errors.New("the request has no token")
	}
	key := sha256.Sum256([]byte(token))
	reviewer.mutex.Lock()
	known, found := reviewer.reviewed[key]
	reviewer.mutex.Unlock()
	if found && time.Now().Before(known.until) {
		return known.caller, nil
	}
	caller, err := reviewer.ask(request.Context(), token)
	if err != nil {
		return Caller{}, err
	}
	reviewer.mutex.Lock()
	defer reviewer.mutex.Unlock()
	for old, entry := range reviewer.reviewed {
		if time.Now().After(entry.until) {
			delete(reviewer.reviewed, old)
		}
	}
	reviewer.reviewed[key] = review{caller: caller, until: time.Now().Add(reviewedFor)}
	return caller, nil
}

func (reviewer *Reviewer) ask(ctx context.Context, token string) (Caller, error) {
	answer, err := reviewer.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{names.TokenAudience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return Caller{}, fmt.Errorf("reviewing a token: %w", err)
	}
	if !answer.Status.Authenticated {
		return Caller{}, fmt.Errorf("the token is not accepted: %s", answer.Status.Error)
	}
	return callerOf(answer.Status.User)
}

func callerOf(user authenticationv1.UserInfo) (Caller, error) {
	account, found := strings.CutPrefix(user.Username, "system:serviceaccount:")
	namespace, name, complete := strings.Cut(account, ":")
	pods := user.Extra[podNameKey]
	if !found || !complete || len(pods) != 1 {
		return Caller{}, fmt.Errorf("%s is not the service account of a pod", user.Username)
	}
	return Caller{Namespace: namespace, ServiceAccount: name, Pod: pods[0]}, nil
}
