"""Each formula restated in float64 with loops and the paper's symbols: independent of the library.

A and G are (h, w, K) of one image.
"""

import numpy as np


def cam(A, w):
    """Zhou et al. 2016, eq. 2: M(x, y) = sum_k w_k^c f_k(x, y)."""
    h, wd, K = A.shape
    M = np.zeros((h, wd))
    for x in range(h):
        for y in range(wd):
            for k in range(K):
                M[x, y] += w[k] * A[x, y, k]
    return M


def grad_cam(A, G):
    """Selvaraju et al. 2017, eq. 1: alpha_k = 1/Z sum_i sum_j dy/dA_ij^k; eq. 2 before its ReLU."""
    h, w, K = A.shape
    alpha = np.zeros(K)
    for k in range(K):
        for i in range(h):
            for j in range(w):
                alpha[k] += G[i, j, k] / (h * w)
    return cam(A, alpha)


def grad_cam_pp(A, G, score=0.0, normalised=False):
    """Chattopadhay et al. 2018, eq. 5, 10 and 19, with Y = exp(S) and its three derivatives.

    ``normalised``: the authors' code divides alpha by its sum over positions with a positive one.
    """
    h, w, K = A.shape
    weights = np.zeros(K)
    for k in range(K):
        total, alphas = A[:, :, k].sum(), 0.0
        for i in range(h):
            for j in range(w):
                first = np.exp(score) * G[i, j, k]
                second = np.exp(score) * G[i, j, k] ** 2
                third = np.exp(score) * G[i, j, k] ** 3
                denominator = 2 * second + total * third
                alpha = second / denominator if denominator > 0 else 0.0
                weights[k] += alpha * max(first, 0.0)
                alphas += alpha if first > 0 else 0.0
        weights[k] /= alphas if normalised and alphas else 1.0
    return cam(A, weights)


def batch_norm(x, gamma, beta, mean, variance, epsilon):
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def bilinear(values, height, width):
    """Bilinear resizing with pixel centres at half positions, edges repeated; (h, w)."""
    h, w = values.shape
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            top = values[y0, x0] * (1 - (x - x0)) + values[y0, x1] * (x - x0)
            bottom = values[y1, x0] * (1 - (x - x0)) + values[y1, x1] * (x - x0)
            out[i, j] = top * (1 - (y - y0)) + bottom * (y - y0)
    return out


def x_grad_cam(A, G):
    """Fu et al. 2020, eq. 8: w_k = sum_xy A_xy^k / (sum_xy A_xy^k) * dS/dA_xy^k."""
    h, w, K = A.shape
    weights = np.zeros(K)
    for k in range(K):
        total = A[:, :, k].sum()
        for x in range(h):
            for y in range(w):
                weights[k] += A[x, y, k] / total * G[x, y, k] if total else 0.0
    return cam(A, weights)


def _elementwise(A, G, term):
    h, w, K = A.shape
    M = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            for k in range(K):
                M[i, j] += term(A[i, j, k], G[i, j, k])
    return M


def hires_cam(A, G):
    """Draelos and Carin 2020, eq. 5: sum_f dS/dA^f (elementwise) A^f."""
    return _elementwise(A, G, lambda a, g: g * a)


def layer_cam(A, G):
    """Jiang et al. 2021, eq. 4 to 6: w_ij^kc = relu(g_ij^kc); M = sum_k w A, before its ReLU."""
    return _elementwise(A, G, lambda a, g: max(g, 0.0) * a)


def grad_cam_elementwise(A, G):
    return _elementwise(A, G, lambda a, g: max(g * a, 0.0))


def eigen_cam(A, _=None):
    """Muhammad and Yeasin 2020: O = U Sigma V^T, L = O V_1; the sign of the larger extreme."""
    h, w, K = A.shape
    _, _, Vt = np.linalg.svd(A.reshape(h * w, K), full_matrices=False)
    M = A.reshape(h * w, K) @ Vt[0]
    return (-M if -M.min() > M.max() else M).reshape(h, w)


def eigen_grad_cam(A, G):
    return eigen_cam(A * G)


def deep_lift(weights, x, start, c):
    """Shrikumar et al. 2017, section 3.5.1: m through two layers of ReLUs on each pixel.

    m_x = m_z (a - a') / (z - z') at a ReLU, W m_z at a layer; the head averages over the pixels.
    """
    W1, b1, W2, b2, V, _ = (w.astype(np.float64) for w in weights)
    h, w, C = x.shape
    M = np.zeros(x.shape)
    for i in range(h):
        for j in range(w):
            inputs, zs = [], []
            for each in (x[i, j].astype(np.float64), start[i, j].astype(np.float64)):
                z1 = each @ W1[0, 0] + b1
                z2 = np.maximum(z1, 0) @ W2[0, 0] + b2
                inputs.append(each)
                zs.append((z1, z2))
            m = V[:, c] / (h * w)
            for layer, W in ((1, W2[0, 0]), (0, W1[0, 0])):
                z, z0 = zs[0][layer], zs[1][layer]
                m = m * (np.maximum(z, 0) - np.maximum(z0, 0)) / (z - z0)
                m = W @ m
            for k in range(C):
                M[i, j, k] = m[k] * (inputs[0][k] - inputs[1][k])
    return M


def lrp(weights, x, c, rule, gamma):
    """Bach et al. 2015; Montavon et al. 2019, section 10.3: R through two layers on each pixel.

    Each output j shares R_j among its parts by the rule; the dense head, and the mean over the
    pixels, by the parts themselves.
    """
    W1, b1, W2, b2, V, _ = (w.astype(np.float64) for w in weights)
    h, w, _ = x.shape
    z1 = x.astype(np.float64) @ W1[0, 0] + b1
    a1 = np.maximum(z1, 0)
    z2 = a1 @ W2[0, 0] + b2
    a2 = np.maximum(z2, 0)
    M = np.zeros(x.shape)
    for i in range(h):
        for j in range(w):
            R = a2[i, j] * V[:, c] / (h * w)
            for a, W, bias in ((a1[i, j], W2[0, 0], b2), (x[i, j], W1[0, 0], b1)):
                R = _shared(np.asarray(a, np.float64), W, bias, R, rule, gamma)
            M[i, j] = R
    return M


def _shared(a, W, b, R, rule, gamma):
    """What each of the inputs a of one layer gets of R, output by output."""
    got = np.zeros(len(a))
    for j in range(len(R)):
        parts, z = a * W[:, j], a @ W[:, j] + b[j]
        up, down = np.maximum(parts, 0), np.minimum(parts, 0)
        b_up, b_down = max(b[j], 0), min(b[j], 0)
        if rule == "epsilon":
            got += parts / z * R[j]
        elif rule == "zplus":
            got += up / (up.sum() + b_up) * R[j] if R[j] else 0
        elif rule == "alpha2_beta1":
            got += 2 * up / (up.sum() + b_up) * R[j] if up.any() else 0
            got -= down / (down.sum() + b_down) * R[j] if down.any() else 0
        elif rule == "gamma":
            side, b_side = (up, b_up) if z > 0 else (down, b_down)
            got += (parts + gamma * side) / (z + gamma * (side.sum() + b_side)) * R[j]
        else:
            got += R[j] / len(a)
    return got
