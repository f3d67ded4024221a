package app

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"sereno"
)

// A Key is the secret of one data folder: the file key, 32 random bytes that
// only its owner may read, made when it is needed for the first time. What is
// signed and what is sealed have keys of their own that follow from it
// (HKDF-SHA256, RFC 5869). Many goroutines may use it.
type Key struct {
	path string

	mu     sync.Mutex
	secret []byte // nil: not made yet
}

const keySize = 32

// OpenKey reads the key of a data folder, if there is one yet. One that cannot
// be read or has another length is Invalid: a new one would make all that was
// sealed unreadable.
func OpenKey(folder string) (*Key, error) {
	k := &Key{path: filepath.Join(folder, "key")}
	secret, err := os.ReadFile(k.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, nil
	case err != nil:
		return nil, sereno.Errorf(sereno.Invalid,
			"the key of the sealed secrets cannot be read: %v; give Sereno leave to read it", err)
	case len(secret) != keySize:
		return nil, sereno.Errorf(sereno.Invalid,
			"%s has %d bytes instead of %d: it is damaged; put the file back from a copy, or remove it and enter the secrets of channels anew", k.path, len(secret), keySize)
	}
	k.secret = secret
	return k, nil
}

// Sign makes a mark (32 bytes) that nobody can make who does not have the key.
// What is signed for one purpose is not for another.
func (k *Key) Sign(purpose string, message []byte) ([]byte, error) {
	key, err := k.derive("sign "+purpose, true)
	if err != nil {
		return nil, err
	}
	return mark(key, message), nil
}

// Verify reports whether a mark is what Sign made of a message.
func (k *Key) Verify(purpose string, message, signed []byte) bool {
	key, err := k.derive("sign "+purpose, false)
	return err == nil && hmac.Equal(mark(key, message), signed)
}

func mark(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

// Seal makes a secret unreadable without the key (XChaCha20-Poly1305). about
// says whose secret it is: under another name it does not open.
func (k *Key) Seal(about string, secret []byte) ([]byte, error) {
	box, err := k.box(true)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, box.NonceSize(), box.NonceSize()+len(secret)+box.Overhead())
	rand.Read(nonce)
	return box.Seal(nonce, nonce, secret, []byte(about)), nil
}

// Open reads what Seal made. What was sealed with another key or under another
// name, or was changed since, is Invalid.
func (k *Key) Open(about string, sealed []byte) ([]byte, error) {
	box, err := k.box(false)
	if err != nil {
		return nil, err
	}
	if n := box.NonceSize(); len(sealed) > n {
		if secret, err := box.Open(nil, sealed[:n], sealed[n:], []byte(about)); err == nil {
			return secret, nil
		}
	}
	return nil, sereno.Errorf(sereno.Invalid,
		"the secrets of %s were sealed with another key than %s: put that key back, or enter them anew", about, k.path)
}

func (k *Key) box(make bool) (cipher.AEAD, error) {
	key, err := k.derive("seal", make)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.NewX(key)
}

// derive returns the key for one use, and makes the secret first if there is
// none and it may.
func (k *Key) derive(use string, make bool) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.secret == nil {
		if !make {
			return nil, sereno.Errorf(sereno.Invalid, "there is no key in %s", k.path)
		}
		if err := k.create(); err != nil {
			return nil, fmt.Errorf("make the key of the sealed secrets: %w", err)
		}
	}
	return hkdf.Key(sha256.New, k.secret, nil, "sereno "+use, keySize)
}

// create writes a new secret, whole or not at all, and never over another.
func (k *Key) create() error {
	secret := make([]byte, keySize)
	rand.Read(secret)
	temporary := k.path + ".new"
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(secret)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if _, err := os.Lstat(k.path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s was made by another process; start Sereno again", k.path), os.Remove(temporary))
	}
	if err := os.Rename(temporary, k.path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(k.path))
	if err != nil {
		return err
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return err
	}
	k.secret = secret
	return nil
}
