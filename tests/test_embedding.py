"""Lesson 03: features by structure, layouts against hand-made cases and oracles, collections, the explorer."""
import base64
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from methods import net_of, pictures
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy
from torch import nn

import vizhelpers as vh
from vizhelpers.figures import place


def tiny():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 6, 5, stride=4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(24, 4)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def collection():
    return vh.embed(tiny(), vh.library("paintings") + vh.library("photos", "animals") + vh.library("objects", "balls"))


# --- which features ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, behind, layer", [
    ("alexnet", lambda net, x: net.classifier[:6](net.avgpool(net.features(x)).flatten(1)), "classifier.6"),
    ("squeezenet1_1", lambda net, x: net.features(x).mean((2, 3)), "classifier.1"),
    ("densenet121", lambda net, x: net.features(x).relu().mean((2, 3)), "classifier"),
    ("mobilenet_v3_large", lambda net, x: net.classifier[:3](net.avgpool(net.features(x)).flatten(1)), "classifier.3"),
])  # fmt: skip
def test_features_are_the_input_of_the_classifier(name, behind, layer):
    net, x = net_of(name), pictures()
    where, found = vh.feature_layer(net), vh.features(net, x)
    assert where[:2] == (layer, "input") and f"({found.shape[1]} numbers" in where.label
    torch.testing.assert_close(found, behind(net, x))


@pytest.mark.parametrize("name, size, words", [
    ("alexnet", 4096, "fc7"), ("vgg16", 4096, "fc7"), ("resnet50", 2048, "input of fc"), ("densenet121", 1024, "input"),
    ("efficientnet_b0", 1280, "input of classifier.1"),
])  # fmt: skip
def test_whole_nets_have_the_sizes_of_the_papers(name, size, words):
    import torchvision  # after vizhelpers

    with torch.device("meta"):  # the architecture without its numbers
        net = torchvision.models.get_model(name, weights=None)
    where = vh.feature_layer(net)
    assert words in where.label and f"({size} numbers)" in where.label
    assert vh.features(net.eval(), torch.empty(1, 3, 224, 224, device="meta")).shape == (1, size)


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_the_last_linear_layer_makes_the_logits_of_the_features(name):
    net, x = net_of(name), pictures()
    f = vh.features(net, x)
    torch.testing.assert_close(net.fc(f), vh.class_scores(net, x))


def test_fc7_is_behind_its_relu_and_without_dropout():
    net, x = net_of("alexnet"), pictures()
    f = vh.features(net, x)
    assert vh.feature_layer(net).name == "classifier.6"
    assert f.min() == 0 and (f == 0).double().mean() > 0.2  # before the ReLU nothing would be exactly 0
    net.train()
    torch.testing.assert_close(vh.features(net, x), f)
    assert net.training
    net.eval()


def test_convolutions_only_are_pooled_and_said_so():
    net = vh.load_model("alexnet", device="cpu")
    x = torch.randn(2, 3, 80, 96, generator=torch.Generator().manual_seed(0))
    assert "no classifier" in vh.feature_layer(net).label and "fc7" not in vh.feature_layer(net).label
    torch.testing.assert_close(vh.features(net, x), net(x).mean((2, 3)))


def test_a_backbone_without_its_head_gives_its_own_output():
    net = vh.load_model("resnet18", weights="random", device="cpu")
    net.fc, x = nn.Identity(), torch.randn(2, 3, 64, 64)
    assert vh.feature_layer(net).name == ""
    torch.testing.assert_close(vh.features(net, x), net(x))
    with pytest.raises(ValueError, match="name a layer"):
        vh.feature_layer(nn.Sequential(nn.Flatten()))


def test_a_layer_by_name_is_pooled_and_strange_ones_are_refused():
    net, x = net_of("resnet18"), pictures()
    torch.testing.assert_close(vh.features(net, x, layer="layer2"), vh.activations(net, x, "layer2").mean((2, 3)))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.ReLU())
    with pytest.raises(ValueError, match=r"\(1, 4, 36\).*layer="):
        vh.features(net, torch.zeros(1, 3, 8, 8), layer="1")

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(12, 12)

        def forward(self, x):
            return self.fc(self.fc(x.flatten(1)))

    with pytest.raises(ValueError, match="ran 2 times"):
        vh.features(Twice(), torch.zeros(1, 3, 2, 2))


def test_lists_of_pictures_stream_and_equal_the_batch():
    net, names = tiny(), ["koala", "coffee", "cat"]
    assert torch.allclose(vh.features(net, names, batch_size=2), vh.features(net, vh.to_input(names, net)), atol=1e-6)


def test_pixels_are_the_small_picture():
    p = vh.pixels(["koala"], side=16)
    assert p.shape == (1, 768) and 0 <= p.min() and p.max() <= 1
    assert torch.equal(p.view(1, 3, 16, 16), vh.to_display(vh.to_input("koala", size=16)))
    with pytest.raises(ValueError, match="empty"):
        vh.pixels([])


# --- t-SNE ------------------------------------------------------------------------------------------------------------
def clusters(count=20, groups=3):
    g = torch.Generator().manual_seed(0)
    return torch.cat([torch.randn(count, 60, generator=g) + 12 * torch.randn(60, generator=g) for _ in range(groups)])


def test_tsne_keeps_clusters_apart_and_repeats():
    f = clusters()
    points = vh.tsne(f, perplexity=8)
    assert points.shape == (60, 2) and points.dtype == torch.float32
    assert torch.equal(points, vh.tsne(f, perplexity=8)) and torch.equal(points, vh.tsne(f.double(), perplexity=8))
    labels = [n // 20 for n in range(60)]
    assert vh.knn_agreement(points, labels, k=10, metric="euclidean") == 1
    assert vh.trustworthiness(f, points, metric="euclidean") > 0.8


def test_tsne_is_scikit_learn_s_after_pca():
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    f = clusters(15)
    z = PCA(45, svd_solver="full").fit_transform(f.numpy())
    first = (z[:, :2] / z[:, 0].std() * 1e-4).astype(np.float32)  # what init="pca" means: components of that size
    assert np.allclose(first, PCA(2, svd_solver="full").fit_transform(z) / z[:, 0].std() * 1e-4, atol=1e-8)
    want = TSNE(perplexity=5, init=first, learning_rate="auto", random_state=3).fit_transform(z)
    assert np.allclose(vh.tsne(f, perplexity=5).numpy(), want)


@pytest.mark.parametrize("perplexity", [0.5, 21, 30, float("nan")])
def test_tsne_says_which_perplexity_fits(perplexity):
    with pytest.raises(ValueError, match="from 1 to a third of the pictures, here 20"):
        vh.tsne(clusters(), perplexity=perplexity)


def test_tsne_refuses_what_has_no_layout():
    with pytest.raises(ValueError, match="equal"):
        vh.tsne(torch.ones(60, 4), perplexity=5)
    with pytest.raises(ValueError, match="NaN"):
        vh.tsne(torch.full((60, 4), float("nan")), perplexity=5)
    with pytest.raises(ValueError, match=r"\(N,D\)"):
        vh.tsne(torch.ones(60), perplexity=5)


def test_the_bell_curves_hold_as_many_neighbours_as_the_perplexity():
    """What the lesson says perplexity is: 2 to the entropy of each point's neighbour probabilities."""
    from sklearn.manifold._utils import _binary_search_perplexity

    d = torch.cdist(clusters(10), clusters(10)).square().numpy().astype(np.float32)
    p = _binary_search_perplexity(d, 7.0, 0)
    assert np.allclose([2 ** entropy(row[row > 0], base=2) for row in p], 7, rtol=0.02)


# --- neighbours and numbers -------------------------------------------------------------------------------------------
def test_neighbours_by_hand():
    f = torch.tensor([[1.0, 0], [2, 0], [0, 3], [1, 1], [1, 0], [0, 0]])
    found = vh.neighbours(f, 0, 5)
    assert found.indices.tolist() == [1, 4, 3, 2, 5]  # row 4 is a copy and stays; of equals the first
    assert found.distances.tolist() == pytest.approx([0, 0, 1 - 0.5**0.5, 1, 1], abs=1e-6)
    near = vh.neighbours(f, 0, 5, metric="euclidean")
    assert near.indices.tolist() == [4, 1, 3, 5, 2] and near.distances[-1] == pytest.approx(10**0.5)
    every = vh.neighbours(f, k=2)
    assert every.indices.shape == (6, 2) and every.indices[0].tolist() == [1, 4]
    assert all(n not in every.indices[n] for n in range(6)) and every.distances.isfinite().all()
    for wrong, words in (({"k": 6}, "1 to 5"), ({"picture": 9}, "0 to 5"), ({"metric": "l2"}, "cosine")):
        with pytest.raises(ValueError, match=words):
            vh.neighbours(f, **{"k": 2} | wrong)


def test_agreement_by_hand():
    f = torch.tensor([[0.0], [1], [10], [11.5]])
    assert vh.knn_agreement(f, ["a", "a", "b", "b"], k=1, metric="euclidean") == 1
    assert vh.knn_agreement(f, ["a", "b", "a", "b"], k=1, metric="euclidean") == 0
    assert vh.knn_agreement(f, [1, 1, 1, 2], k=3, metric="euclidean") == pytest.approx((2 / 3 * 3) / 4)
    with pytest.raises(ValueError, match="3 labels for 4"):
        vh.knn_agreement(f, [1, 2, 3])


def test_trustworthiness_by_its_formula():
    f, points, n, k = torch.randn(25, 4), torch.randn(25, 2), 25, 3
    penalty = 0
    for i in range(n):
        by_f = sorted(range(n), key=lambda j: -1 if j == i else float((f[i] - f[j]).norm()))
        on_map = sorted(range(n), key=lambda j: -1 if j == i else float((points[i] - points[j]).norm()))
        penalty += sum(max(0, by_f.index(j) - k) for j in on_map[1 : k + 1])
    want = 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * penalty
    assert vh.trustworthiness(f, points, k, metric="euclidean") == pytest.approx(want)
    assert vh.trustworthiness(points, points, k, metric="euclidean") == 1
    with pytest.raises(ValueError, match="25 with 24"):
        vh.trustworthiness(f, points[1:])


# --- grid -------------------------------------------------------------------------------------------------------------
def test_grid_by_hand_keeps_sides_and_leaves_gaps_at_the_end():
    corners = torch.tensor([[0.0, 0], [5, 0], [0, 9], [5, 9]])
    assert vh.grid(corners).tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]]  # y up: the largest is in the top row
    points = torch.randn(23, 2, generator=torch.Generator().manual_seed(1))
    assert sorted(tuple(cell) for cell in vh.grid(points).tolist()) == [divmod(n, 5) for n in range(23)]
    assert sorted(vh.grid(torch.zeros(4, 2)).tolist()) == [[0, 0], [0, 1], [1, 0], [1, 1]]  # all at one place


def test_grid_is_the_best_assignment():
    points = torch.rand(6, 2, generator=torch.Generator().manual_seed(2))
    cells = vh.grid(points).numpy()
    unit = (points - points.amin(0)) / (points.amax(0) - points.amin(0)) * torch.tensor([2.0, 1.0])

    def cost(order):
        return sum(float((unit[n] - torch.tensor([c, 1 - r])).square().sum()) for n, (r, c) in enumerate(order))

    import itertools

    every = [divmod(n, 3) for n in range(6)]
    assert cost(cells.tolist()) == pytest.approx(min(map(cost, itertools.permutations(every))))
    assert len(linear_sum_assignment(np.eye(2))) == 2


# --- collections ------------------------------------------------------------------------------------------------------
def test_embed_keeps_everything_in_step(collection):
    net, e = tiny(), collection
    assert len(e) == 37 and set(e.groups) == {"paintings", "animals", "balls"}
    n = e.names.index("photos/animals/koala")
    x = vh.to_input("photos/animals/koala", net)
    torch.testing.assert_close(e.features[n : n + 1], vh.features(net, x), rtol=1e-4, atol=1e-5)
    assert torch.equal(e.pixels[n : n + 1], vh.pixels(["photos/animals/koala"]))
    assert e.thumbs.shape == (37, 3, 64, 64) and e.label == vh.feature_layer(net).label
    with pytest.raises(ValueError, match="2 pictures, 1 names"):
        vh.embed(net, ["koala", "cat"], names=["koala"])


@pytest.fixture
def folder(tmp_path):
    for n in range(9):
        path = tmp_path / "in" / ("ab"[n % 2]) / f"p{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40 + n), (20 * n, 200 - 20 * n, 90)).save(path)
    (tmp_path / "in" / "a" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").write_text("no picture either")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    return tmp_path / "in"


def test_embed_folder_names_what_it_cannot_read(folder):
    with pytest.warns(UserWarning, match="a/broken.jpg is left out"):
        e = vh.embed_folder(folder, tiny())
    assert len(e) == 9 and set(e.groups) == {"a", "b"} and list(e.unreadable) == ["a/broken.jpg"]
    assert e.names[0] == "a/p0.png"
    (folder / "only").mkdir()
    with pytest.raises(FileNotFoundError, match="no picture file"):
        vh.embed_folder(folder / "only", tiny())
    with pytest.raises(FileNotFoundError, match="no folder"):
        vh.embed_folder(folder / "nowhere", tiny())
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="None of the 1"):
        vh.embed(tiny(), [folder / "a" / "broken.jpg"])


# --- explorer ---------------------------------------------------------------------------------------------------------
def controls(widget) -> dict:
    found = {widget.description: widget} if hasattr(widget, "description") and hasattr(widget, "value") else {}
    for child in getattr(widget, "children", ()):
        found |= controls(child)
    return found


def test_every_picture_every_map_and_every_view(collection):
    e = collection
    maps = {p: torch.randn(37, 2, generator=torch.Generator().manual_seed(p)) for p in (5, 12)}
    explorer = vh.explore_embedding(e, maps=maps, size=200, k=4)
    parts, shown = controls(explorer), set()
    assert parts["perplexity"].value == 12 and parts["picture"].max == 36
    for n in range(37):
        parts["picture"].value = n
        r = explorer.result
        assert (r.picture, r.name) == (n, e.names[n]) and e.names[n] in explorer.text.value
        assert r.by_features == vh.neighbours(e.features, n, 4).indices.tolist()
        assert r.by_pixels == vh.neighbours(e.pixels, n, 4, metric="euclidean").indices.tolist()
        shown.add(explorer.images[0].value)
    assert len(shown) == 37
    for view in ("points", "grid", "thumbnails"):
        parts["view"].value = view
        for p in (5, 12):
            parts["perplexity"].value = p
            assert explorer.result[:2] == (p, view) and explorer.result.points is maps[p]
            shown.add(explorer.images[0].value)
    assert len(shown) == 37 + 5 and e.label in explorer.text.value


def test_groups_and_search_lead_to_the_picture(collection):
    e = collection
    explorer = vh.explore_embedding(e, maps={9: torch.randn(37, 2)}, size=200)
    parts = controls(explorer)
    for label, group in parts["group"].options:
        parts["group"].value = group
        want = [n for n in range(37) if group in ("all groups", e.groups[n])]
        assert label == f"{group} ({len(want)})" and parts["picture"].max == len(want) - 1
        for at in (len(want) - 1, 0):
            parts["picture"].value = at
            assert explorer.result.picture == want[at]
    parts["group"].value = "balls"
    parts["search"].value = "Koala"
    assert explorer.result.name == "photos/animals/koala" and parts["group"].value == "all groups"
    with pytest.raises(ValueError, match="nearest: koala"):
        parts["search"].value = "koalla"
    assert "koalla" in explorer.note.value and explorer.result.name == "photos/animals/koala"
    before = explorer.result.picture
    parts["picture"].row.children[2].click()
    assert explorer.result.picture == before + 1
    assert base64.b64decode(explorer._repr_mimebundle_()["image/png"])[:4] == b"\x89PNG"


def test_the_picture_and_its_neighbours_are_framed_outside_their_places(collection):
    points = torch.randn(37, 2, generator=torch.Generator().manual_seed(1))
    explorer = vh.explore_embedding(collection, maps={9: points}, size=300, k=1)
    explorer.set(view="points", picture=5)
    page = np.asarray(Image.open(io.BytesIO(explorer.images[0].value)).convert("RGB"))
    for m, width, colour in ((5, 4, (214, 39, 40)), (explorer.result.by_features[0], 2, (31, 119, 180))):
        x, y = place(points, 300)[m]
        for near, far in ((7, 6 + width), (-7, -6 - width)):
            assert (page[y, x + far] == colour).all() and (page[y + near, x] == colour).all()


def test_maps_are_made_for_perplexities_that_fit(collection):
    explorer = vh.explore_embedding(collection, size=200)
    assert [p for _, p in explorer.controls["perplexity"].options] == [5] and explorer.result.perplexity == 5
    want = vh.tsne(F.normalize(collection.features), perplexity=5)
    assert torch.equal(explorer.result.points, want)
