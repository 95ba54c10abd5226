"""Fair forms and attacks of three rounds, which were written before the reward was tried on them, and of its repairs.

Rows that break a rule of docs/rewards-math.md are left out. The boxes are in `FAIR` and `ATTACKS`.
"""

import pytest

from axolotl_grpo_plugin.rewards.math import accuracy_reward_func
from tests.rewards.helpers import lines

score = accuracy_reward_func.score


def box(answer):
    return rf"So the answer is $\boxed{{{answer}}}$."


# A gold, then answers that equal it.
FAIR = r"""
52 + 3036 \sqrt{7} ¦ 3036\sqrt{7}+52 ¦ 4(13+759\sqrt7) ¦ 52+3036\sqrt7\approx 8084.5 ¦ 52 + 3036\cdot\sqrt{7}
\$1.05 ¦ 1.05 ¦ \$1.05 \text{ per pound} ¦ 1.05\text{ USD} ¦ 105\text{ cents} ¦ \text{\$}1.05
48\pi-72\sqrt{3} ¦ 24(2\pi-3\sqrt{3}) ¦ -72\sqrt3+48\pi ¦ 48\pi - 72\sqrt{3} \text{ square units}
48\pi-72\sqrt{3} ¦ A = 48\pi-72\sqrt{3} \text{ cm}^2
3,-3 ¦ \pm 3 ¦ x = \pm 3 ¦ -3 \text{ and } 3 ¦ \{-3, 3\} ¦ x=3 \text{ or } x=-3 ¦ x \in \{-3, 3\}
47^\circ ¦ 47 ¦ 47\text{ degrees} ¦ \angle BAC = 47^\circ ¦ m\angle ABC = 47^{\circ} ¦ 47\degree
2 - \frac{\pi}{2} ¦ \frac{4-\pi}{2} ¦ \frac{1}{2}(4-\pi) ¦ 2-\pi/2 ¦ 2 - 0.5\pi
x^6-5832 ¦ x^{6} - 5832 ¦ -5832 + x^6 ¦ \boxed{x^6-5832}
(3x+7)(x+1) ¦ (x+1)(3x+7) ¦ (x + 1) \cdot (3x + 7) ¦ \left(3x+7\right)\left(x+1\right) ¦ (1+x)(7+3x)
250\text{ inches} ¦ 250 ¦ 250\text{ in} ¦ 250\text{ in.} ¦ 250'' ¦ 250 \, \text{inches}
3 - i, -2 + i ¦ -2+i, 3-i ¦ z = 3 - i \text{ or } z = -2 + i ¦ \{3-i, -2+i\} ¦ z_1 = 3-i, z_2 = -2+i
3 - i, -2 + i ¦ -2+i \text{ and } 3-i
[0,2) ¦ 0\leq x<2 ¦ x\in[0,2) ¦ \{x\mid 0\le x<2\} ¦ 0 \leqslant x < 2 ¦ \left[0, 2\right)
135,\!000 ¦ 135{,}000 ¦ 135000 ¦ 1.35 \times 10^5 ¦ \$135,000 ¦ 135,000 \text{ dollars} ¦ 135\,000
\left(-\frac{1}{2}, 3, -\frac{5}{2}\right) ¦ (-0.5, 3, -2.5) ¦ \left(\frac{-1}{2}, 3, \frac{-5}{2}\right)
\left(-\frac{1}{2}, 3, -\frac{5}{2}\right) ¦ x=-\frac12, y=3, z=-\frac52
\left(-\frac{1}{2}, 3, -\frac{5}{2}\right) ¦ (x,y,z) = \left(-\frac{1}{2}, 3, -\frac{5}{2}\right)
\left(-\frac{1}{2}, 3, -\frac{5}{2}\right) ¦ \begin{pmatrix} -\frac12 \\ 3 \\ -\frac52 \end{pmatrix}
3 \sec \frac{1}{2} \theta ¦ 3\sec\left(\frac{\theta}{2}\right) ¦ 3\sec\frac{\theta}{2} ¦ \frac{3}{\cos(\theta/2)}
3 \sec \frac{1}{2} \theta ¦ 3\sec(\tfrac12\theta)
-x + 118 ¦ 118-x ¦ 118 - x ¦ r(x) = 118-x ¦ -(x-118) ¦ -1x+118
0,1,2,3,4 ¦ \{0,1,2,3,4\} ¦ n = 0, 1, 2, 3, 4 ¦ 4,3,2,1,0 ¦ 0, 1, 2, 3, \text{ and } 4 ¦ 0, 1, 2, 3, \text{or } 4
0,1,2,3,4 ¦ n \in \{0, 1, 2, 3, 4\}
10^\circ, 50^\circ, 54^\circ ¦ 10, 50, 54 ¦ 10^{\circ}, 50^{\circ}, 54^{\circ} ¦ \{10^\circ, 50^\circ, 54^\circ\}
10^\circ, 50^\circ, 54^\circ ¦ x = 10^\circ, 50^\circ, 54^\circ ¦ 10^\circ, 50^\circ, \text{ and } 54^\circ
14\frac{6}{7} ¦ \frac{104}{7} ¦ 14\tfrac{6}{7} ¦ 14 \frac{6}{7} ¦ 104/7 ¦ 14\dfrac67
1011_2 ¦ 1011 ¦ 1011_{2} ¦ 1011_{\text{two}} ¦ (1011)_2 ¦ 1011_{\text{base }2}
-8 + 2i ¦ 2i-8 ¦ -8+2\mathrm{i} ¦ z=-8+2i ¦ -2(4-i) ¦ -8 + 2 i
3x^2 + 27x + 60 ¦ 3x^2+27x+60 ¦ 3x^{2}+27x+60 ¦ 60+27x+3x^2
\left[ \frac{\pi}{4}, \frac{3 \pi}{4} \right] ¦ \frac{\pi}{4}\le x\le\frac{3\pi}{4} ¦ [\pi/4, 3\pi/4]
\left[ \frac{\pi}{4}, \frac{3 \pi}{4} \right] ¦ \left[\dfrac{\pi}{4},\dfrac{3\pi}{4}\right]
\left[ \frac{\pi}{4}, \frac{3 \pi}{4} \right] ¦ x\in\left[\frac{\pi}{4},\frac{3\pi}{4}\right]
(-\infty,-2) \cup (-1,1) \cup (2,3) \cup (4,6) \cup (7,\infty) ¦ x\in(-\infty,-2)\cup(-1,1)\cup(2,3)\cup(4,6)\cup(7,\infty)
(-\infty,-2) \cup (-1,1) \cup (2,3) \cup (4,6) \cup (7,\infty) ¦ x<-2 \text{ or } -1<x<1 \text{ or } 2<x<3 \text{ or } 4<x<6 \text{ or } x>7
(-\infty,-2) \cup (-1,1) \cup (2,3) \cup (4,6) \cup (7,\infty) ¦ (-\infty, -2) \cup (-1, 1) \cup (2, 3) \cup (4, 6) \cup (7, +\infty)
(w-2)(w+2)(w^2+4) ¦ (w^2+4)(w+2)(w-2) ¦ (w - 2)(w + 2)\left(w^2 + 4\right)
-11, -1, 1, 11 ¦ \pm1, \pm11 ¦ \{\pm 1, \pm 11\} ¦ n = \pm 1, \pm 11 ¦ \{-11,-1,1,11\}
861_{12} ¦ 861 ¦ 861_{\text{twelve}} ¦ 861_{(12)}
\text{Sunday} ¦ Sunday ¦ \textbf{Sunday} ¦ \text{sunday} ¦ \mathrm{Sunday} ¦ \text{Sunday.}
(8\sqrt3, 14, 2, 4) ¦ (a,b,c,d) = (8\sqrt{3},14,2,4) ¦ \left(8\sqrt{3},\ 14,\ 2,\ 4\right)
-\frac{1}{13} - \frac{5}{13}i ¦ \frac{-1-5i}{13} ¦ -\frac{1+5i}{13} ¦ -\frac{1}{13}-\frac{5i}{13}
-\frac{1}{13} - \frac{5}{13}i ¦ -\frac{1}{13}(1+5i)
2 \sin b \cos a ¦ 2\cos a\sin b ¦ 2\cos(a)\sin(b) ¦ 2\sin(b)\cos(a) ¦ 2\cos{a}\sin{b}
(3+\sqrt{5},-1) ¦ \left(3+\sqrt5,-1\right) ¦ x=3+\sqrt5,\; y=-1 ¦ (\sqrt{5}+3, -1)
12^{1/7} ¦ \sqrt[7]{12} ¦ 12^{\frac{1}{7}} ¦ 12^{\frac17} ¦ \sqrt[7]{12}\approx 1.426
1.85\ \text{USD} ¦ \$1.85 ¦ 1.85 ¦ 1.85\text{ dollars} ¦ 185\text{ cents}
21\text{ dogs} ¦ 21 ¦ 21 \text{ dogs remaining} ¦ \text{21 dogs} ¦ 21 dogs
y = -\frac{10}{3} ¦ -\frac{10}{3} ¦ y=-10/3 ¦ y = \frac{-10}{3} ¦ y=-3\frac{1}{3}
\frac{3}{\sqrt{10}} ¦ \frac{3\sqrt{10}}{10} ¦ 0.3\sqrt{10} ¦ \cos\theta = \frac{3}{\sqrt{10}}
\frac{3}{\sqrt{10}} ¦ \cos \angle ABC = \frac{3\sqrt{10}}{10}
\text{gray} ¦ gray ¦ \text{Gray} ¦ \mathbf{gray}
-\sqrt{2}, -\sqrt{2} + i, -\sqrt{2} - i ¦ -\sqrt2, -\sqrt2\pm i ¦ \{-\sqrt{2}, -\sqrt{2}+i, -\sqrt{2}-i\}
-\sqrt{2}, -\sqrt{2} + i, -\sqrt{2} - i ¦ x = -\sqrt{2},\ x = -\sqrt{2} \pm i
(0,5) \cup (5,\infty) ¦ x>0, x\ne5 ¦ x > 0 \text{ and } x \neq 5 ¦ x\in(0,5)\cup(5,+\infty)
(0,5) \cup (5,\infty) ¦ (0,\infty)\setminus\{5\} ¦ (0,\infty) \setminus \{5\}
1 + i ¦ i+1 ¦ 1+1i ¦ z = 1+i
\left( 2, \frac{7 \pi}{4} \right) ¦ (2,7\pi/4) ¦ (r,\theta) = \left(2,\frac{7\pi}{4}\right)
\left( 2, \frac{7 \pi}{4} \right) ¦ r=2, \theta=\frac{7\pi}{4}
3/7 ¦ \frac{3}{7} ¦ \frac37 ¦ \dfrac{3}{7} ¦ 3/7. ¦ \frac{3}{7} \approx 0.4286 ¦ P(\text{both red}) = \frac{3}{7}
2 - 9i, -2 + 9i ¦ \pm(2-9i) ¦ \pm (2 - 9i) ¦ z = \pm(2-9i) ¦ -2+9i, 2-9i
\begin{pmatrix} 2 & 0 & 7 \\ 3 & 5 & -1 \\ -8 & -2 & 4 \end{pmatrix} ¦ \begin{bmatrix}2&0&7\\3&5&-1\\-8&-2&4\end{bmatrix}
\begin{pmatrix} 2 & 0 & 7 \\ 3 & 5 & -1 \\ -8 & -2 & 4 \end{pmatrix} ¦ \mathbf{A} = \begin{pmatrix}2&0&7\\3&5&-1\\-8&-2&4\end{pmatrix}
\begin{pmatrix} 2 & 0 & 7 \\ 3 & 5 & -1 \\ -8 & -2 & 4 \end{pmatrix} ¦ \left(\begin{array}{ccc}2&0&7\\3&5&-1\\-8&-2&4\end{array}\right)
\begin{pmatrix} 2 & 0 & 7 \\ 3 & 5 & -1 \\ -8 & -2 & 4 \end{pmatrix} ¦ \begin{pmatrix} 2 & 0 & 7 \\[4pt] 3 & 5 & -1 \\[4pt] -8 & -2 & 4 \end{pmatrix}
89, 88, 85, 73, 70 ¦ 89,88,85,73,70 ¦ 70, 73, 85, 88, 89 ¦ \{89, 88, 85, 73, 70\} ¦ 89, 88, 85, 73, \text{ and } 70
\text{(D)} ¦ D ¦ (D) ¦ \textbf{(D)} ¦ \text{D} ¦ \mathrm{(D)} ¦ \textbf{D}
[2 \sqrt{2},4] ¦ 2\sqrt2\le x\le4 ¦ [2\sqrt{2}, 4] ¦ \left[2\sqrt{2},4\right]
428\text{ square centimeters} ¦ 428 ¦ 428\text{ cm}^2 ¦ 428 \text{ sq cm} ¦ 428\,\mathrm{cm^2} ¦ 428 \text{ cm}²
\frac{18+3c}{7} ¦ \frac{3c+18}{7} ¦ \frac{3(c+6)}{7} ¦ \frac{3}{7}(c+6) ¦ b = \frac{3c+18}{7}
\frac{18+3c}{7} ¦ \frac{3c}{7}+\frac{18}{7}
\begin{pmatrix} 0 \\ -5 \end{pmatrix} ¦ (0,-5) ¦ \begin{bmatrix} 0 \\ -5 \end{bmatrix} ¦ -5\mathbf{j}
\begin{pmatrix} 0 \\ -5 \end{pmatrix} ¦ \langle 0, -5\rangle ¦ \mathbf{v} = \begin{pmatrix} 0 \\ -5 \end{pmatrix}
k=3 ¦ 3 ¦ k = 3 ¦ k=3.0
\frac{8-7x}{6} ¦ -\frac{7x-8}{6} ¦ \frac{4}{3}-\frac{7x}{6} ¦ y=\frac{8-7x}{6} ¦ \frac{-7x+8}{6}
240\text{ ways.} ¦ 240 ¦ 240\text{ ways} ¦ 240 ways
9,\!000,\!000 ¦ 9{,}000{,}000 ¦ 9\times10^6 ¦ 9 \times 10^{6} ¦ 9\text{ million} ¦ 9000000
0,\tfrac32, 2i, -2i ¦ 0, \frac{3}{2}, \pm 2i ¦ \{0, 3/2, 2i, -2i\} ¦ 0, 1.5, 2i, -2i
\dfrac{1}{29,\!322,\!216} ¦ \frac{1}{29322216} ¦ \frac{1}{29{,}322{,}216} ¦ 1/29,322,216
2 \sin 5x \cos x ¦ 2\sin(5x)\cos(x) ¦ 2\cos x\sin 5x ¦ 2 \cos(x) \sin(5x)
\mbox{four} ¦ four ¦ \text{four}
\frac{640}{3}\pi ¦ \frac{640\pi}{3} ¦ \frac{640 \pi}{3} \text{ cubic inches} ¦ V = \frac{640\pi}{3} ¦ 640\pi/3
43_5. ¦ 43 ¦ 43_5 ¦ 43_{\text{five}}
\frac{5}{3}\pi - 2\sqrt{3} ¦ \frac{5\pi}{3}-2\sqrt3 ¦ \frac{5\pi-6\sqrt{3}}{3} ¦ \dfrac{5\pi}{3} - 2\sqrt{3}
z^3  -2z^2+3z-\frac{17}{3} ¦ z^3-2z^2+3z-17/3 ¦ z^{3}-2 z^{2}+3 z-\frac{17}{3}
\sqrt{2},-\sqrt{2} ¦ \pm\sqrt{2} ¦ x = \pm\sqrt2 ¦ \{\sqrt{2}, -\sqrt{2}\}
\frac{3\sqrt{13}}{13} ¦ \frac{3}{\sqrt{13}} ¦ 3/\sqrt{13} ¦ \frac{3}{13}\sqrt{13}
1103_6 ¦ 1103_{6} ¦ 1103_{\text{six}}
\left[-\frac{3}{2}, \frac{2}{5}\right] ¦ -1.5\le x\le0.4
1110_4 ¦ 1110 ¦ 1110_{4} ¦ 1110_{\text{four}} ¦ (1110)_4 ¦ 1110\text{ (base 4)}
8910^\circ ¦ 8910 ¦ 8910\text{ degrees} ¦ 8{,}910^\circ ¦ 8910^{\circ}.
125\textnormal{ miles} ¦ 125 ¦ 125\text{ miles} ¦ 125\text{ mi} ¦ 125\ \mathrm{miles} ¦ d=125
\left( \frac{1}{2}, -10 \right) ¦ (0.5,-10) ¦ x = \frac{1}{2},\quad y = -10 ¦ \left(\tfrac12,-10\right)
\left( \frac{1}{2}, -10 \right) ¦ (1/2, -10)
2xy + 10x + 20y + 100 ¦ 2xy+20y+10x+100 ¦ 100+20y+10x+2xy ¦ 2 x y+10 x+20 y+100
\frac{\sqrt{65}}{9} ¦ \frac19\sqrt{65} ¦ \sqrt{65}/9 ¦ \sin\theta=\frac{\sqrt{65}}{9} ¦ \dfrac{\sqrt{65}}{9}
\text{(E)}, ¦ E ¦ (E) ¦ \textbf{(E)} ¦ \mathbf{E} ¦ \text{E} ¦ (\text{E})
\left( -\frac{9}{2} , -2 \right) \cup \left( \frac{1 - \sqrt{5}}{2}, \frac{1 + \sqrt{5}}{2} \right) ¦ x \in \left(-\frac92,-2\right)\cup\left(\frac{1-\sqrt5}{2},\frac{1+\sqrt5}{2}\right)
\left( -\frac{9}{2} , -2 \right) \cup \left( \frac{1 - \sqrt{5}}{2}, \frac{1 + \sqrt{5}}{2} \right) ¦ -\frac92<x<-2 \text{ or } \frac{1-\sqrt5}{2}<x<\frac{1+\sqrt5}{2}
\left( -\frac{9}{2} , -2 \right) \cup \left( \frac{1 - \sqrt{5}}{2}, \frac{1 + \sqrt{5}}{2} \right) ¦ (-4.5,-2)\cup\left(\frac{1-\sqrt{5}}{2},\frac{1+\sqrt{5}}{2}\right)
2 \text{ euros} ¦ 2 ¦ €2 ¦ 2€ ¦ 2 \text{ €} ¦ 2.00\text{ euros}
(-\infty,-4)\cup(-4, -2)\cup(-2,\infty) ¦ x\ne-4,-2 ¦ x \neq -4 \text{ and } x\neq -2
(-\infty,-4)\cup(-4, -2)\cup(-2,\infty) ¦ \mathbb{R}\setminus\{-4,-2\} ¦ \{x\in\mathbb{R}\mid x\neq-4,-2\}
(-\infty,-4)\cup(-4, -2)\cup(-2,\infty) ¦ \text{all real numbers except }-4\text{ and }-2
(-\infty,-4)\cup(-4, -2)\cup(-2,\infty) ¦ x\in\mathbb{R},\ x\neq-4,\ x\neq-2
\sqrt{3}-1 ¦ -1+\sqrt3 ¦ \sqrt{3} - 1 \approx 0.732 ¦ \sqrt3-1\text{ units}
-x^5 + 1 ¦ 1-x^5 ¦ 1 - x^{5} ¦ -(x^5-1) ¦ -x^5+1.
\log\left(\frac{2007}{2006}\right) ¦ \log\frac{2007}{2006} ¦ \log 2007-\log 2006 ¦ \log(2007/2006)
\log\left(\frac{2007}{2006}\right) ¦ \log_{10}\left(\frac{2007}{2006}\right)
54\text{ gallons} ¦ 54 ¦ 54 \text{ gal} ¦ 54\text{ gallons of water} ¦ 54 gallons
3x(3x+1) ¦ 3x(1+3x) ¦ (3x+1)(3x) ¦ 3x\left(3x+1\right) ¦ (3x)(3x+1)
\left( -1, \frac{35}{12} \right) ¦ -1<x<\frac{35}{12} ¦ (-1,35/12) ¦ x\in\left(-1,\frac{35}{12}\right)
\cos^2\alpha ¦ (\cos\alpha)^2 ¦ 1-\sin^2\alpha ¦ \cos^2(\alpha) ¦ \cos^{2}{\alpha}
\left( -\infty, -\frac{7}{4} \right) \cup \left( -\frac{3}{2}, \infty \right) ¦ x<-\frac74 \text{ or } x>-\frac32
\left( -\infty, -\frac{7}{4} \right) \cup \left( -\frac{3}{2}, \infty \right) ¦ x < -1.75 \text{ or } x > -1.5
\left( -\infty, -\frac{7}{4} \right) \cup \left( -\frac{3}{2}, \infty \right) ¦ (-\infty,-7/4)\cup(-3/2,\infty)
-4r+3 ¦ 3-4r ¦ 3 - 4r ¦ -(4r-3)
\begin{pmatrix} 6/7 \\ -4/7 \\ 12/7 \end{pmatrix} ¦ \begin{pmatrix} \frac67\\-\frac47\\ \frac{12}{7}\end{pmatrix}
\begin{pmatrix} 6/7 \\ -4/7 \\ 12/7 \end{pmatrix} ¦ \frac27\begin{pmatrix}3\\-2\\6\end{pmatrix}
\begin{pmatrix} 6/7 \\ -4/7 \\ 12/7 \end{pmatrix} ¦ \left(\frac67,-\frac47,\frac{12}7\right)
\begin{pmatrix} 6/7 \\ -4/7 \\ 12/7 \end{pmatrix} ¦ \begin{bmatrix} 6/7 \\ -4/7 \\ 12/7 \end{bmatrix}
45^\circ, 135^\circ, 225^\circ, 315^\circ ¦ 45,135,225,315 ¦ 45^\circ, 135^\circ, 225^\circ, \text{ and } 315^\circ
45^\circ, 135^\circ, 225^\circ, 315^\circ ¦ \{45^\circ,135^\circ,225^\circ,315^\circ\}
45^\circ, 135^\circ, 225^\circ, 315^\circ ¦ x=45^\circ,135^\circ,225^\circ,315^\circ
45^\circ, 135^\circ, 225^\circ, 315^\circ ¦ \theta = 45^\circ, 135^\circ, 225^\circ, 315^\circ
\tan \theta = 2\theta ¦ 2\theta=\tan\theta ¦ \tan(\theta)=2\theta ¦ \tan{\theta} = 2 \theta
5x - 11y + z - 17 = 0 ¦ 5x-11y+z=17 ¦ z = 17-5x+11y ¦ -5x+11y-z+17=0 ¦ 5x - 11y + z - 17 = 0.
y = -1 ¦ -1 ¦ y=-1
\text{neither} ¦ neither ¦ \text{Neither} ¦ \textbf{neither} ¦ \text{neither.}
(-6, 6) ¦ -6<x<6 ¦ |x|<6 ¦ x\in(-6,6) ¦ \{x:-6<x<6\}
0.56 = 56\% ¦ 0.56 ¦ 56\% ¦ \frac{14}{25}
1 - 2x ¦ -2x+1 ¦ 1-2 x ¦ -(2x-1)
\left( 0, \frac{1}{\sqrt{2}} \right] ¦ \left(0,\frac{\sqrt2}{2}\right] ¦ 0<x\le\frac{\sqrt{2}}{2}
\left( 0, \frac{1}{\sqrt{2}} \right] ¦ (0, \tfrac{1}{\sqrt2}]
\cos(6^\circ)\sin(12^\circ)\csc(18^\circ) ¦ \cos 6^\circ \sin 12^\circ \csc 18^\circ
\cos(6^\circ)\sin(12^\circ)\csc(18^\circ) ¦ \frac{\cos 6^\circ\sin12^\circ}{\sin18^\circ}
\cos(6^\circ)\sin(12^\circ)\csc(18^\circ) ¦ \sin 12^\circ\cos 6^\circ\csc 18^\circ
300,\!000 ¦ 300{,}000 ¦ 3\times10^5 ¦ 300\text{ thousand} ¦ \$300{,}000 ¦ 300 000
190-100\sqrt{3} ¦ 10(19-10\sqrt3) ¦ -100\sqrt3+190
36 - 12\sqrt{3} - 4\pi ¦ 36-4\pi-12\sqrt3 ¦ 4(9-3\sqrt{3}-\pi) ¦ 36 - 12\sqrt{3} - 4\pi \text{ cm}^2
0, \frac{1}{14}, -\frac{1}{12} ¦ -\frac{1}{12},0,\frac{1}{14} ¦ x=0,\ x=\frac1{14},\ x=-\frac1{12}
0, \frac{1}{14}, -\frac{1}{12} ¦ \left\{-\frac{1}{12},0,\frac{1}{14}\right\} ¦ t = 0, \frac{1}{14}, -\frac{1}{12}
82.50 ¦ \$82.50 ¦ 82.5 ¦ \$82.5 ¦ 82.50\text{ dollars}
2001+25i ¦ 25i+2001 ¦ z = 2001+25i ¦ 2001 + 25\mathrm{i}
1008 \sqrt{6} + 1008 \sqrt{2} ¦ 1008(\sqrt6+\sqrt2) ¦ 1008\left(\sqrt{2}+\sqrt{6}\right) ¦ 1008\sqrt2+1008\sqrt6
18 \text{ degrees} ¦ 18^\circ ¦ 18 ¦ 18^{\circ} ¦ 18°
\dfrac 3 8 ¦ \frac{3}{8} ¦ 0.375 ¦ 3/8 ¦ 37.5\%
\sqrt{3} - 5i ¦ -5i+\sqrt3 ¦ \sqrt3-5\,i
\dfrac{1+\sqrt{5}}{2} ¦ \frac{\sqrt5+1}{2} ¦ \varphi = \frac{1+\sqrt5}{2} ¦ \frac12+\frac{\sqrt5}{2}
\dfrac{1+\sqrt{5}}{2} ¦ \frac{1+\sqrt{5}}{2}\approx1.618
-1,3,3 ¦ 3,3,-1 ¦ -1, 3, 3 ¦ -1, 3
-2^{49} ¦ -(2^{49}) ¦ -562949953421312 ¦ -562{,}949{,}953{,}421{,}312
\begin{pmatrix} -1 & -5 \\ 1 & 4 \end{pmatrix} ¦ \begin{bmatrix}-1&-5\\1&4\end{bmatrix}
\begin{pmatrix} -1 & -5 \\ 1 & 4 \end{pmatrix} ¦ \mathbf{M}=\begin{pmatrix}-1&-5\\1&4\end{pmatrix}
\begin{pmatrix} -1 & -5 \\ 1 & 4 \end{pmatrix} ¦ \left(\begin{matrix}-1&-5\\1&4\end{matrix}\right)
24{,}000 ¦ 24000 ¦ 24,000 ¦ 24 \text{ thousand} ¦ 2.4\times 10^{4}
2^{n - 1} ¦ 2^{n-1} ¦ \frac{2^n}{2} ¦ \frac12\cdot2^n ¦ a_n=2^{n-1}
-2, 1 + i \sqrt{3}, 1 - i \sqrt{3} ¦ -2,1\pm i\sqrt3 ¦ -2, 1+\sqrt{3}i, 1-\sqrt{3}i ¦ x=-2,\ x=1\pm\sqrt{3}\,i
-2, 1 + i \sqrt{3}, 1 - i \sqrt{3} ¦ \{-2, 1+i\sqrt3, 1-i\sqrt3\}
8,1,-1,-8 ¦ \pm1,\pm8 ¦ -8,-1,1,8 ¦ \{\pm 1, \pm 8\} ¦ n=\pm1 \text{ or } n=\pm8
27+21\sqrt{3} ¦ 3(9+7\sqrt3) ¦ 21\sqrt3+27
3x^2 - 12 ¦ 3(x^2-4) ¦ 3(x-2)(x+2) ¦ f(x)=3x^2-12 ¦ -12+3x^2
-80\leq g(x)\leq 82 ¦ [-80,82] ¦ -80\le g(x)\le82 ¦ g(x)\in[-80,82] ¦ \left[-80, 82\right]
180\text{ miles} ¦ 180 ¦ 180\text{ mi} ¦ 180\text{ miles.}
\text{A, D, F, G, H} ¦ A, D, F, G, H ¦ \text{A, D, F, G, and H} ¦ ADFGH ¦ A,D,F,G,H ¦ \{A,D,F,G,H\}
\text{CBAD} ¦ CBAD ¦ \mathrm{CBAD}
3^x - 2^x ¦ -2^x+3^x ¦ 3^{x}-2^{x} ¦ f(x)=3^x-2^x
\text{October 30} ¦ October 30 ¦ \textbf{October 30}
10 + \frac{15}{2}\pi ¦ 10+7.5\pi ¦ \frac{20+15\pi}{2} ¦ \frac{15\pi}{2}+10 ¦ 10+\frac{15\pi}{2}
\frac{1}{4m} ¦ \frac{1}{4}m^{-1} ¦ (4m)^{-1} ¦ 1/(4m)
20\text{ square units} ¦ 20 ¦ 20\text{ units}^2 ¦ 20 \text{ sq. units} ¦ A = 20 ¦ [ABC]=20
37a(a+3) ¦ 37a^2+111a ¦ 37a(3+a) ¦ 37(a)(a+3)
4, 0, -4 ¦ 0,\pm4 ¦ -4,0,4 ¦ x = 0, \pm 4 ¦ \{-4, 0, 4\}
237.5\% ¦ 237.5 ¦ 237.5 percent ¦ 237.5\text{ percent} ¦ 237\frac{1}{2}\%
2 \sqrt{6} - 2 \sqrt{3} ¦ 2(\sqrt6-\sqrt3) ¦ 2\sqrt{3}(\sqrt{2}-1) ¦ -2\sqrt3+2\sqrt6
\csc 10 ¦ \frac{1}{\sin 10} ¦ \csc(10) ¦ \csc{10}
b=\frac{1}{49} ¦ \frac{1}{49} ¦ b=1/49
24_{10} ¦ 24 ¦ 24_{\text{ten}}
\text{(P)} ¦ P ¦ (P) ¦ \text{P}
9\text{ min} ¦ 9 ¦ 9\text{ minutes} ¦ 540\text{ seconds} ¦ 9 minutes
8x^9-125y^6 ¦ -125y^6+8x^9 ¦ 8 x^{9}-125 y^{6} ¦ (2x^3)^3-(5y^2)^3
\left( \frac{7}{20}, \frac{9}{20}, \frac{1}{5} \right) ¦ (0.35, 0.45, 0.2)
\left( \frac{7}{20}, \frac{9}{20}, \frac{1}{5} \right) ¦ x=\frac{7}{20},\ y=\frac{9}{20},\ z=\frac15
\left( \frac{7}{20}, \frac{9}{20}, \frac{1}{5} \right) ¦ \left(\frac{7}{20},\frac{9}{20},\frac{4}{20}\right)
\left( \frac{3}{4}, 1 \right) \cup (1, \infty) ¦ x>\frac34,\ x\ne1 ¦ x > \frac{3}{4} \text{ and } x \neq 1
\left( \frac{3}{4}, 1 \right) \cup (1, \infty) ¦ \left(\frac34,\infty\right)\setminus\{1\} ¦ (0.75,1)\cup(1,\infty)
[8,\infty) ¦ x\ge8 ¦ x\geq 8 ¦ [8,+\infty) ¦ \{x \mid x\ge 8\} ¦ y\ge 8
\sin x ¦ \sin(x) ¦ \sin{x} ¦ \cos\left(\frac{\pi}{2}-x\right) ¦ f(x)=\sin x
\frac{5}{8}, 2, 10 ¦ 2, 10, \frac58 ¦ a=\frac58, b=2, c=10 ¦ 0.625, 2, 10
\frac{\pi}{6}+2k\pi, k\in\mathbb{Z} ¦ x=\frac{\pi}{6}+2k\pi\ (k\in\mathbb{Z}) ¦ \frac{\pi}{6}+2\pi n
\frac{\pi}{6}+2k\pi, k\in\mathbb{Z} ¦ \left\{x \mid x=\frac{\pi}{6}+2k\pi, k\in\mathbb{Z}\right\}
\frac{\pi}{6}+2k\pi, k\in\mathbb{Z} ¦ x = \frac{\pi}{6} + 2n\pi, \quad n \in \mathbb{Z}
f(x)=cx \text{ for some constant } c ¦ f(x)=cx ¦ f(x) = kx ¦ f(x)=cx, c\in\mathbb{R}
f(x)=cx \text{ for some constant } c ¦ f(x)=ax \text{ where } a \text{ is a constant}
n\geq 3 ¦ \text{all integers } n \ge 3 ¦ n \ge 3 ¦ \text{all } n\geq 3 ¦ n\ge3, n\in\mathbb{N}
3:20\text{ p.m.} ¦ 3:20 ¦ 3:20 PM ¦ 3{:}20\text{ pm} ¦ 3:20\,\text{p.m.}
12 ¦ x+y=12 ¦ ab=12 ¦ |AB|=12 ¦ x+y+z=12 ¦ \text{The final answer is }12 ¦ \text{The answer is: }12
12 ¦ \text{Answer: }12
\frac12 ¦ \frac12=0.5 ¦ 0.5=\frac12 ¦ \frac{1}{2}=50\% ¦ P=\frac12=0.5
9000000 ¦ 9\text{ million} ¦ \$9\text{ million} ¦ 9 million ¦ 9\text{ million dollars} ¦ 9{,}000{,}000
4 ¦ 共4个 ¦ 答案为4 ¦ 一共4个 ¦ 答案是4个 ¦ 值为4
(0,5)\cup(5,\infty) ¦ x\ne5, x>0 ¦ x\in(0,5)\cup(5,\infty)
6\sqrt2 ¦ 6\sqrt{2}=\sqrt{72}
2\begin{pmatrix}1&2\end{pmatrix} ¦ \begin{pmatrix}2&4\end{pmatrix} ¦ 2\begin{bmatrix}1&2\end{bmatrix}
\frac{x^2}{2}\ln x-\frac{x^2}{4}+C ¦ \frac{1}{2}x^2\ln x-\frac14x^2+C ¦ \frac{x^2}{4}(2\ln x-1)+C
\frac{x^2}{2}\ln x-\frac{x^2}{4}+C ¦ \frac{x^2\ln(x)}{2}-\frac{x^2}{4}+K ¦ \frac{x^2\ln|x|}{2}-\frac{x^2}{4}+C
2e^{2x}\cos x-e^{2x}\sin x ¦ e^{2x}(2\cos x-\sin x) ¦ f'(x)=e^{2x}(2\cos x-\sin x)
2e^{2x}\cos x-e^{2x}\sin x ¦ \frac{dy}{dx} = e^{2x}(2\cos(x)-\sin(x))
y=C_1e^{2x}+C_2e^{-x} ¦ y=Ae^{2x}+Be^{-x} ¦ y(x)=c_1e^{2x}+c_2e^{-x} ¦ C_1e^{-x}+C_2e^{2x}
y=C_1e^{2x}+C_2e^{-x} ¦ y = c_1 e^{2x} + c_2 e^{-x}
\infty ¦ +\infty ¦ \text{infinity} ¦ \infty.
-\infty ¦ \text{negative infinity}
\text{DNE} ¦ \text{does not exist} ¦ DNE ¦ \text{The limit does not exist}
e^{-1} ¦ \frac{1}{e} ¦ 1/e ¦ e^{-1}\approx0.368
\frac{\sqrt{2}+\sqrt{6}}{4} ¦ \frac{\sqrt6+\sqrt2}{4} ¦ \frac{\sqrt{2}}{4}+\frac{\sqrt{6}}{4}
\frac{\sqrt{2}+\sqrt{6}}{4} ¦ \cos 15^\circ=\frac{\sqrt6+\sqrt2}4
\frac{2\pi}{3} ¦ 2\pi/3 ¦ \frac23\pi ¦ \theta=\frac{2\pi}{3} ¦ \frac{2\pi}{3}\text{ radians}
\frac{2\pi}{3} ¦ \frac{2\pi}{3}\text{ rad}
\frac{n(n+1)(2n+1)}{6} ¦ \frac{1}{6}n(n+1)(2n+1) ¦ \frac{2n^3+3n^2+n}{6} ¦ S_n=\frac{n(n+1)(2n+1)}{6}
\frac{n(n+1)(2n+1)}{6} ¦ \frac{n^3}{3}+\frac{n^2}{2}+\frac{n}{6}
3\cdot2^{n-1} ¦ 3(2^{n-1}) ¦ a_n=3\cdot2^{n-1} ¦ 3\times 2^{n-1} ¦ \frac{3}{2}\cdot2^n
r=\frac{6}{1+\cos\theta} ¦ \frac{6}{1+\cos\theta} ¦ r = \frac{6}{1+\cos(\theta)} ¦ r=\dfrac{6}{\cos\theta+1}
x^2+(y-2)^2=4 ¦ x^2+y^2-4y=0 ¦ x^2+y^2=4y ¦ (y-2)^2+x^2=4 ¦ (x-0)^2+(y-2)^2=4
2x+3y-z=5 ¦ 2x+3y-z-5=0 ¦ z=2x+3y-5 ¦ 4x+6y-2z=10 ¦ 5=2x+3y-z
\frac{x-1}{2}=\frac{y+1}{3}=\frac{z}{4} ¦ \frac{z}{4}=\frac{y+1}{3}=\frac{x-1}{2}
\frac{x-1}{2}=\frac{y+1}{3}=\frac{z}{4} ¦ \frac{x-1}{2} = \frac{y+1}{3} = \frac{z}{4}
\lambda=2,5 ¦ 2,5 ¦ \lambda_1=2,\lambda_2=5 ¦ \lambda=2\text{ and }\lambda=5 ¦ \{2,5\}
\begin{pmatrix}\frac{3}{5}&-\frac{1}{5}\\-\frac15&\frac25\end{pmatrix} ¦ \frac15\begin{pmatrix}3&-1\\-1&2\end{pmatrix}
\begin{pmatrix}\frac{3}{5}&-\frac{1}{5}\\-\frac15&\frac25\end{pmatrix} ¦ \begin{bmatrix}0.6&-0.2\\-0.2&0.4\end{bmatrix}
\begin{pmatrix}\frac{3}{5}&-\frac{1}{5}\\-\frac15&\frac25\end{pmatrix} ¦ A^{-1}=\begin{pmatrix}3/5&-1/5\\-1/5&2/5\end{pmatrix}
\langle 3,-1,2\rangle ¦ (3,-1,2) ¦ 3\mathbf{i}-\mathbf{j}+2\mathbf{k} ¦ 3\hat{\imath}-\hat{\jmath}+2\hat{k}
\langle 3,-1,2\rangle ¦ \begin{bmatrix}3\\-1\\2\end{bmatrix}
5e^{i\pi/4} ¦ 5e^{\frac{i\pi}{4}} ¦ 5e^{\frac{\pi}{4}i} ¦ \frac{5\sqrt2}{2}+\frac{5\sqrt2}{2}i
x\in[0,\pi] ¦ [0,\pi] ¦ 0\le x\le\pi ¦ 0 \leq x \leq \pi
(1,3)\text{ and }(3,1) ¦ (1,3),(3,1) ¦ \{(1,3),(3,1)\} ¦ (3,1)\text{ or }(1,3) ¦ (x,y)=(1,3),(3,1)
p\equiv 1\pmod{4} ¦ p\equiv1\mod4 ¦ p \equiv 1 \pmod 4 ¦ 1\pmod4
a>-1 ¦ (-1,\infty) ¦ a\in(-1,+\infty) ¦ -1<a ¦ \{a\mid a>-1\}
f(x)=2^x-1 ¦ 2^x-1 ¦ y=2^x-1 ¦ f(t)=2^t-1
2\sqrt[3]{4} ¦ 2\cdot4^{1/3} ¦ \sqrt[3]{32} ¦ 2^{5/3} ¦ 2\sqrt[3]{4}\approx3.17
\frac{1}{2}\log_2 3 ¦ \frac{\log_2 3}{2} ¦ \log_2\sqrt3 ¦ \log_4 3 ¦ \frac{\ln3}{2\ln2}
7.5\times10^{-4} ¦ 0.00075 ¦ 7.5\cdot10^{-4} ¦ 7.5 \times 10^{-4}\text{ m}
75^\circ ¦ 75 ¦ \angle B=75^\circ ¦ 75\text{ degrees}
9\frac{3}{5} ¦ 9.6 ¦ \frac{48}{5} ¦ 9\tfrac35\text{ miles}
\$2{,}450 ¦ 2450 ¦ \$2450 ¦ 2,450\text{ dollars} ¦ \$2,450.00
6:45\text{ a.m.} ¦ 6:45 ¦ 6:45\text{ AM} ¦ 6:45\,\mathrm{a.m.}
\text{Yes} ¦ Yes ¦ \text{yes} ¦ \textbf{Yes} ¦ \text{Yes.}
\text{obtuse} ¦ obtuse ¦ \text{Obtuse}
\{1,2,4,8\} ¦ 1,2,4,8 ¦ 1, 2, 4, \text{ and } 8 ¦ \{8,4,2,1\} ¦ \left\{1,2,4,8\right\}
"""

# A gold, then answers that are wrong or leave work.
ATTACKS = r"""
52 + 3036 \sqrt{7} ¦ 52-3036\sqrt7 ¦ 3088\sqrt7 ¦ 8084.5 ¦ 52+3036\sqrt{7}+0.001 ¦ 52+\sqrt{7}\cdot 3035
\$1.05 ¦ 1.05\text{ cents} ¦ \$105 ¦ €1.05 ¦ 0.0105 ¦ 1.05\%
48\pi-72\sqrt{3} ¦ 72\sqrt{3}-48\pi ¦ 26.09 ¦ |72\sqrt3-48\pi|+1 ¦ 48\cdot3.14-72\sqrt3
3,-3 ¦ 3 ¦ -3 ¦ x^2=9 ¦ \pm\sqrt{9} ¦ |x|=3 ¦ [-3,3] ¦ -3,0,3 ¦ (3,-3)
47^\circ ¦ 47\text{ rad} ¦ 47' ¦ 133^\circ ¦ 47^\circ \text{ or } 133^\circ ¦ 180^\circ-133^\circ ¦ 47^{47}
2 - \frac{\pi}{2} ¦ 0.429 ¦ 2-\frac{3.14}{2} ¦ \frac{\pi}{2}-2 ¦ 2-\arcsin 1
x^6-5832 ¦ x^6+5832 ¦ (x^2-18)^3 ¦ y^6-5832 ¦ x^6-18^3 ¦ x^6-5832=0
250\text{ inches} ¦ 250\text{ feet} ¦ 250\text{ cm} ¦ 250\text{ in}^2 ¦ 2500\text{ inches}
3 - i, -2 + i ¦ 3-i ¦ 3+i,-2-i ¦ 3-i,-2+i,0 ¦ (3-i)(-2+i) ¦ 3-i,-2-i
[0,2) ¦ [0,2] ¦ (0,2) ¦ 0,1 ¦ x<2 ¦ 0\le x\le 2 ¦ (0,2]
135,\!000 ¦ 135,00 ¦ 135 ¦ 135000\pm1 ¦ 135\text{ thousand and one} ¦ 1350\times 10^3
-x + 118 ¦ x-118 ¦ x+118 ¦ -x+118=0 ¦ -118x+1 ¦ -x+119-1
0,1,2,3,4 ¦ 0,1,2,3 ¦ 0,\ldots,4 ¦ 0\le n\le4 ¦ 0,1,2,3,4,5 ¦ 5 ¦ 01234
14\frac{6}{7} ¦ 14\cdot\frac67 ¦ 14-\frac67 ¦ \frac{14+6}{7} ¦ 14+\frac{6}{7}+0.01 ¦ 14.857
1011_2 ¦ 1011_3 ¦ 11 ¦ 11_{10} ¦ 1101_2 ¦ 1011_{10}
-8 + 2i ¦ -8-2i ¦ (-8,-2) ¦ 2i(1+4i) ¦ (1+3i)^2 ¦ -8+2 ¦ -6i
\left[ \frac{\pi}{4}, \frac{3 \pi}{4} \right] ¦ [45,135] ¦ (\frac{\pi}{4},\frac{3\pi}{4})
\left[ \frac{\pi}{4}, \frac{3 \pi}{4} \right] ¦ \frac{\pi}{4},\frac{3\pi}{4}
\left[ \frac{\pi}{4}, \frac{3 \pi}{4} \right] ¦ \left[\frac{3\pi}{4},\frac{\pi}{4}\right]
861_{12} ¦ 861_{10} ¦ 1225 ¦ 861_{11} ¦ 86.1
\text{Sunday} ¦ \text{Sunday or Monday} ¦ \text{not Sunday} ¦ \text{Saturday} ¦ \text{a day}
-\frac{1}{13} - \frac{5}{13}i ¦ \frac{1}{13}+\frac{5}{13}i ¦ \frac{-2-10i}{26} ¦ \frac{1}{-1/2+5i/2}
-\frac{1}{13} - \frac{5}{13}i ¦ -\frac{6}{13}i ¦ \frac{1-i}{2+3i}
12^{1/7} ¦ 12/7 ¦ 12^{7} ¦ 1.426 ¦ \frac{12^1}{7} ¦ 12^{2/14}\cdot1.01
21\text{ dogs} ¦ 21\text{ dozen dogs} ¦ 20\text{ dogs} ¦ 21\text{ or 22 dogs} ¦ 21\times 1 ¦ 21\text{ hundred}
y = -\frac{10}{3} ¦ x=-\frac{10}{3} ¦ y=\frac{10}{3} ¦ 3y=-10 ¦ y=-3.33 ¦ y\ne-\frac{10}{3}
\frac{3}{\sqrt{10}} ¦ 0.9487 ¦ \frac{\sqrt3}{10} ¦ \frac{3}{\sqrt{2}\sqrt{5}} ¦ \sqrt{\frac{9}{10}}+1-1
\frac{3}{\sqrt{10}} ¦ \sqrt{1-\frac{1}{10}}
(0,5) \cup (5,\infty) ¦ (0,\infty) ¦ x>0 ¦ x\ne5 ¦ (0,5]\cup(5,\infty) ¦ (0,5)\cap(5,\infty) ¦ (0,5),5,(5,\infty)
1 + i ¦ 1-i ¦ \frac{2}{1-i} ¦ \sqrt{2i} ¦ \sqrt2 e^{i} ¦ 1+2i
\left( 2, \frac{7 \pi}{4} \right) ¦ (2,-\frac{\pi}{4}) ¦ (\frac{7\pi}{4},2) ¦ (2,\frac{7\pi}{4},0)
\left( 2, \frac{7 \pi}{4} \right) ¦ (\sqrt2,-\sqrt2)
3/7 ¦ 3:4 ¦ 0.43 ¦ 3\text{ out of }8 ¦ \frac{7}{3} ¦ 1-\frac{4}{7} ¦ \frac{3}{7}\text{ or }\frac{4}{7}
3/7 ¦ \frac{C(3,1)}{C(7,1)} ¦ 3-7
\begin{pmatrix} 0 \\ -5 \end{pmatrix} ¦ \begin{pmatrix} -5 \\ 0 \end{pmatrix} ¦ (0,5) ¦ -5
\begin{pmatrix} 0 \\ -5 \end{pmatrix} ¦ \begin{pmatrix} 0 & -5 \end{pmatrix}\begin{pmatrix}1\\1\end{pmatrix}
\begin{pmatrix} 0 \\ -5 \end{pmatrix} ¦ \begin{pmatrix}1\\-5\end{pmatrix}-\begin{pmatrix}1\\0\end{pmatrix}
\begin{pmatrix} 0 \\ -5 \end{pmatrix} ¦ -5\mathbf{i}
89, 88, 85, 73, 70 ¦ 89,88,85,73 ¦ 89,88,85,73,71 ¦ 405 ¦ 89+88+85+73+70
\text{(D)} ¦ (C) ¦ (D),(C) ¦ D \text{ or } C ¦ ABCD ¦ \text{not D} ¦ (A)(B)(C)(D)
428\text{ square centimeters} ¦ 428\text{ cm} ¦ 428\text{ m}^2 ¦ 428\text{ cubic cm} ¦ 4.28
\frac{18+3c}{7} ¦ \frac{18-3c}{7} ¦ \frac{18+3b}{7} ¦ \frac{18+3c}{7}=b\cdot 2 ¦ \frac{21c}{7}
k=3 ¦ k\ge3 ¦ n=3 ¦ k=-3 ¦ k\ne3 ¦ k=3,4
9,\!000,\!000 ¦ 9\text{ billion} ¦ 9\times10^5 ¦ 9,000 ¦ 3000^2 ¦ 9{,}000{,}000{,}000
0,\tfrac32, 2i, -2i ¦ 0,\frac32,2i ¦ 0,\frac32,\pm2 ¦ \frac32,\pm2i ¦ 0,\frac23,2i,-2i
2 \sin 5x \cos x ¦ \sin 6x+\sin 4x+0.1 ¦ 2\sin x\cos 5x ¦ \sin 5x\cos x ¦ 2\sin 5\cos x
\frac{640}{3}\pi ¦ 670.2 ¦ \frac{640}{3} ¦ \frac{640}{3\pi} ¦ \frac{4}{3}\pi\cdot160 ¦ \frac{640}{3}\cdot3.14159
\sqrt{2},-\sqrt{2} ¦ \sqrt2 ¦ \pm2 ¦ \pm1.414 ¦ x^2=2 ¦ \pm\sqrt{4/2}
(2,3) ¦ (3,2) ¦ [2,3] ¦ 2,3,4 ¦ 2x+3y ¦ x=3,y=2 ¦ (2,3),(3,2) ¦ \{2,3\} ¦ (2.0001,3)
\frac{3}{4} ¦ \frac{4}{3} ¦ \frac{3}{4}\text{ of }8 ¦ 0.750001 ¦ \frac{3}{4}-\frac{1}{1000} ¦ 1-\frac14
\frac{3}{4} ¦ \frac{6+3}{12} ¦ \frac{3!}{8} ¦ 75 ¦ 3\div4\div1 ¦ \frac{\frac{3}{2}}{2} ¦ 34 ¦ \frac{3}{4}i
\frac{3}{4} ¦ \frac34x
12 ¦ 12x ¦ 12!/11! ¦ 3\cdot4 ¦ 12\text{ or }13 ¦ 11.99999 ¦ 1,2 ¦ |12-24| ¦ \lfloor 12.5\rfloor ¦ 12\text{ or so}
12 ¦ \approx 12.1 ¦ 12^{2} ¦ \sqrt{144} ¦ 12,12,13 ¦ 5+7 ¦ 12\pm 0.5 ¦ >12 ¦ \ge 12 ¦ 12+ ¦ -(-12)+1 ¦ \$12k
12 ¦ 12\cdot x ¦ \frac{144}{12}\cdot 2 ¦ n!=12 ¦ \text{twelve dozen} ¦ 12\text{ million} ¦ 1.2 ¦ 12.1 ¦ XIII ¦ 0xC
12 ¦ 1e1+2 ¦ \text{about } 12 ¦ 12?\ 13 ¦ 12/13
1110_4 ¦ 1110_3 ¦ 84_{10}0 ¦ 1101_4 ¦ 11104 ¦ 0111_4
125\textnormal{ miles} ¦ 125\text{ km} ¦ 125\text{ feet} ¦ 125\text{ miles per hour} ¦ 125\text{ square miles}
125\textnormal{ miles} ¦ 12.5\text{ miles}
\left( \frac{1}{2}, -10 \right) ¦ (-10,\frac12) ¦ \frac12,-10,0 ¦ (\frac12,10) ¦ [\frac12,-10] ¦ (\frac12,-5\cdot2)
2xy + 10x + 20y + 100 ¦ 2(x+10)(y+5)+1 ¦ 2xy+20x+10y+100 ¦ 2xy+10x+20y+10^2 ¦ 2xy+10x+10y+10y+100
\frac{\sqrt{65}}{9} ¦ \frac{\sqrt{56}}{9} ¦ \sqrt{\frac{65}{9}} ¦ 0.8958 ¦ \sqrt{1-\frac{16}{81}}
\frac{\sqrt{65}}{9} ¦ \frac{\sqrt5\sqrt{13}}{9}
\text{(E)}, ¦ A ¦ (D)\text{ or }(E) ¦ \text{None} ¦ e^1 ¦ ABCDE ¦ \text{E?} ¦ \lnot E
2 \text{ euros} ¦ \$2 ¦ 2\text{ cents} ¦ 20\text{ euros} ¦ 2\text{ euros each for 3}
(-\infty,-4)\cup(-4, -2)\cup(-2,\infty) ¦ x\ne-4 ¦ x\ne4,2 ¦ \mathbb{R} ¦ (-\infty,-4)\cup(-2,\infty)
(-\infty,-4)\cup(-4, -2)\cup(-2,\infty) ¦ \mathbb{R}\setminus[-4,-2] ¦ x\ne-4\text{ or }x=-2
\sqrt{3}-1 ¦ \sqrt{3-1} ¦ \frac{2}{\sqrt3+1} ¦ 0.732 ¦ 1-\sqrt3 ¦ \sqrt{4-2\sqrt3}\cdot\sqrt{1}+0.1
\sqrt{3}-1 ¦ \tan 60^\circ-1
\log\left(\frac{2007}{2006}\right) ¦ \frac{\log 2007}{\log 2006} ¦ \log 2007+\log 2006 ¦ \log 1
\log\left(\frac{2007}{2006}\right) ¦ \ln\frac{2007}{2006} ¦ 0.000216
54\text{ gallons} ¦ 54\text{ quarts} ¦ 54\text{ liters} ¦ 54\text{ dozen gallons} ¦ 5.4\text{ gallons}
3x(3x+1) ¦ 3x(3x-1) ¦ 9x^2+3 ¦ 3(x)(3x)+1 ¦ 3y(3y+1) ¦ 3x(3x+1)=0
\cos^2\alpha ¦ \cos 2\alpha ¦ \cos\alpha^2 ¦ \sin^2\alpha ¦ \cos^2\beta ¦ \cos^2
\left( -1, \frac{35}{12} \right) ¦ [-1,\frac{35}{12}] ¦ (\frac{35}{12},-1) ¦ -1<x ¦ (-1,3)
45^\circ, 135^\circ, 225^\circ, 315^\circ ¦ 45^\circ,135^\circ,225^\circ ¦ 45^\circ ¦ 45^\circ+90^\circ k
45^\circ, 135^\circ, 225^\circ, 315^\circ ¦ 45,135,225,315,405 ¦ 45\text{ to }315
\tan \theta = 2\theta ¦ \tan\theta=\theta ¦ \tan2\theta=\theta ¦ \tan\theta ¦ \theta=2\tan\theta ¦ \tan\theta=2
5x - 11y + z - 17 = 0 ¦ 5x-11y+z+17=0 ¦ 5x-11y+z=0 ¦ 5x-11y+z-17 ¦ (5,-11,1) ¦ 5(x-1)-11(y-2)+(z-3)=0
-4r+3 ¦ 4r+3 ¦ -4r-3 ¦ -4r+3=0 ¦ -4x+3 ¦ 4(-r)+2+1
(-6, 6) ¦ [-6,6] ¦ |x|\le6 ¦ x^2<36 ¦ -6,6 ¦ (6,-6) ¦ x<6 ¦ |x|>6
0.56 = 56\% ¦ 0.56\% ¦ 5.6 ¦ 0.65 ¦ 0.56\text{ or }0.57
\left( 0, \frac{1}{\sqrt{2}} \right] ¦ (0,0.707] ¦ (0,\frac{1}{\sqrt2}) ¦ [0,\frac{1}{\sqrt2}] ¦ (0,\frac12]
300,\!000 ¦ 300 ¦ 3\times10^4 ¦ 300\text{ million} ¦ 300,00 ¦ 30\times10^4\cdot1 ¦ 600{,}000/2\cdot1
82.50 ¦ 8250 ¦ 82.05 ¦ \$82.50\text{ to }\$83 ¦ 165/2+0
2001+25i ¦ 2001-25i ¦ 2001+25 ¦ (2001,25)i ¦ 25+2001i ¦ 2001+(5i)^2 ¦ 2001+5^2i
18 \text{ degrees} ¦ 18\text{ rad} ¦ 18' ¦ 18^\circ C ¦ 18\text{ degrees or }72 ¦ 90^\circ-72^\circ ¦ 1.8^\circ
\dfrac{1+\sqrt{5}}{2} ¦ 1.618 ¦ \frac{1-\sqrt5}{2} ¦ \frac{1\pm\sqrt5}{2} ¦ \frac{1+\sqrt{4+1}}{2}
\dfrac{1+\sqrt{5}}{2} ¦ \frac{2}{\sqrt5-1} ¦ 2\cos 36^\circ
-1,3,3 ¦ -1 ¦ 3 ¦ -1,3,4 ¦ (-1)(3)(3) ¦ (x+1)(x-3)^2 ¦ 1,-3,-3
-2^{49} ¦ 2^{49} ¦ (-2)^{50} ¦ -2^{48} ¦ -5.6\times10^{14} ¦ 2^{-49} ¦ -2\cdot 49
\begin{pmatrix} -1 & -5 \\ 1 & 4 \end{pmatrix} ¦ \begin{pmatrix} -1&1\\-5&4\end{pmatrix}
\begin{pmatrix} -1 & -5 \\ 1 & 4 \end{pmatrix} ¦ \begin{pmatrix} 4&5\\-1&-1\end{pmatrix}^{-1}
\begin{pmatrix} -1 & -5 \\ 1 & 4 \end{pmatrix} ¦ \begin{pmatrix} -1&-5\\1&5\end{pmatrix} ¦ 1
\begin{pmatrix} -1 & -5 \\ 1 & 4 \end{pmatrix} ¦ \begin{vmatrix}-1&-5\\1&4\end{vmatrix}
2^{n - 1} ¦ 2^n-1 ¦ 2^{n}-2 ¦ 2^{n+1} ¦ 2(n-1) ¦ 2^{n-1}+n-n+1
-2, 1 + i \sqrt{3}, 1 - i \sqrt{3} ¦ -2 ¦ -2,1\pm\sqrt3 ¦ 2,-1\pm i\sqrt3 ¦ x^3=-8 ¦ -2,1+i\sqrt3
3x^2 - 12 ¦ 3x^2+12 ¦ 3(x-4) ¦ 3(x^2-4)=0 ¦ 3x^2-4\cdot3 ¦ 3x^2-13+1
-80\leq g(x)\leq 82 ¦ [-82,80] ¦ (-80,82) ¦ g(x)\le82 ¦ -80\le g(x)<82 ¦ -80,82
\text{A, D, F, G, H} ¦ A ¦ A,B,C,D,E,F,G,H ¦ A,D,F,G ¦ A,D,F,G,H,I ¦ B,C,E
\text{CBAD} ¦ \text{ABCD} ¦ CBDA ¦ C
\text{October 30} ¦ \text{October 31} ¦ \text{October} ¦ \text{November 30} ¦ 30 ¦ \text{October 29 or 30}
10 + \frac{15}{2}\pi ¦ 33.56 ¦ \frac{25}{2}\pi ¦ 10+\frac{15}{2}\cdot3.14 ¦ 10-\frac{15\pi}2
\frac{1}{4m} ¦ \frac{m}{4} ¦ \frac14 m ¦ 4m ¦ \frac{1}{4n} ¦ \frac{1}{4+m}
20\text{ square units} ¦ 20\text{ cubic units}+1 ¦ 4\times5 ¦ 20\pi ¦ 200 ¦ \frac12\cdot8\cdot5 ¦ \sqrt{400}
237.5\% ¦ 23.75\% ¦ 2.375\% ¦ 237.5\text{ dollars per }2 ¦ 238\%
\csc 10 ¦ \sec 10 ¦ \csc 10^\circ ¦ \sin 10 ¦ \frac{1}{\cos 10} ¦ \csc 20
9\text{ min} ¦ 9\text{ hours} ¦ 9\text{ sec} ¦ 9\text{ miles} ¦ 90\text{ s} ¦ 9:00
[8,\infty) ¦ (8,\infty) ¦ x>8 ¦ x\le8 ¦ 8 ¦ [8,\infty]\cup\{7\} ¦ x-8\ge0
\sin x ¦ \cos x ¦ \sin y ¦ -\sin x ¦ \sin 2x ¦ \sin ¦ \frac{\sin^2 x}{\sin x}+0.1
\frac{\pi}{6}+2k\pi, k\in\mathbb{Z} ¦ \frac{\pi}{6}+k\pi ¦ \frac{\pi}{6} ¦ \frac{5\pi}{6}+2k\pi
\frac{\pi}{6}+2k\pi, k\in\mathbb{Z} ¦ \frac{\pi}{6},\frac{13\pi}{6}
n\geq 3 ¦ n>3 ¦ n\ge2 ¦ 3 ¦ n\le3 ¦ n=3,4,5
3:20\text{ p.m.} ¦ 3:20\text{ a.m.} ¦ 3:02 ¦ 4:20 ¦ 3.20 ¦ 15:30
12 ¦ x-y=12\cdot1 ¦ x=y=12+0 ¦ xy=12! ¦ -x=12 ¦ x+y=12,13 ¦ x+y\ne12 ¦ x+y>12 ¦ x+y=11 ¦ x+y=12=13
12 ¦ \text{not }x+y=12 ¦ x^2+y=12 ¦ 2x+y=12 ¦ \frac{x}{2}=6 ¦ \text{The answer is not }12
12 ¦ \text{The answer isn't }12 ¦ \text{The answer is never }12 ¦ \text{The answer is }12\text{ or }13
12 ¦ \text{Half the answer is }12 ¦ \text{The answer is twice }12 ¦ \text{is }12\text{?}
12 ¦ \text{The answer is about }12 ¦ \text{The answer is }11 ¦ 12\text{ million} ¦ 12\text{ thousand}
12 ¦ 12\text{ hundred} ¦ 12\text{ million million}
9000000 ¦ 9\text{ million and one} ¦ 9\text{ million or 10 million} ¦ 90\text{ million}
9000000 ¦ 9\text{ millions of dollars and 3 cents} ¦ 3^2\text{ million} ¦ 9\text{ mil} ¦ 9M
\frac12 ¦ \frac12=0.6 ¦ 0.5=1-0.5 ¦ \frac12=\frac{1}{3} ¦ \frac{1}{2}=\frac{2}{4}=\frac{3}{7} ¦ 0.5=5\%
\frac12 ¦ 2^{-1}=0.5 ¦ \frac12\ne0.5
(0,5)\cup(5,\infty) ¦ x>0\text{ or }x\ne5 ¦ x>0, x\ne4 ¦ x\ge0, x\ne5 ¦ x<0, x\ne5 ¦ x>0, y\ne5 ¦ x>0, x=5
(2,\frac{7\pi}{4}) ¦ (\theta,r)=(2,\frac{7\pi}{4}) ¦ r=\frac{7\pi}{4},\theta=2 ¦ \theta=2, r=\frac{7\pi}{4}
(1,2) ¦ (y,x)=(1,2) ¦ y=1,x=2 ¦ \beta=1,\alpha=2,\gamma=0
5\text{ km} ¦ 5 m ¦ 500 m ¦ 5000 s ¦ 5000 mm ¦ 5000 m^2 ¦ 5 km^2
18元 ¦ 18角 ¦ 180分 ¦ 18个角 ¦ 1.8千元 ¦ 不为18元 ¦ 约为18元
4 ¦ 不是4 ¦ 约为4 ¦ 非4 ¦ 4不为5, 4 ¦ 等于5 ¦ 共4或5个 ¦ 至少为4.5
B ¦ 不选B ¦ 选A ¦ 选AB ¦ 选B或C ¦ 选项A和B ¦ 答案是A ¦ B不选
\text{无解} ¦ 方程有解 ¦ 不是无解 ¦ 无数解 ¦ 有无解
3:2 ¦ 2比3 ¦ 3比2比1 ¦ 3比2.1
1+i ¦ \sqrt{2i} ¦ (2i)^{1/2} ¦ \sqrt[4]{-4} ¦ (-4)^{1/4} ¦ \sqrt{(1+i)^2} ¦ e^{i\pi/4}\sqrt2\cdot1^2
1+i ¦ \frac{2i}{1+i}
x^2+100 ¦ x^2+10^2 ¦ 10^2+x^2 ¦ x^2+10\cdot10 ¦ x^2+\sqrt{10^4}
\{x\mid x>2\} ¦ {x|x>3} ¦ {x|x\ge2} ¦ {x|x<2} ¦ {2}
\begin{pmatrix}\frac35\\\frac15\end{pmatrix} ¦ \frac15\begin{pmatrix}3\\2-1\end{pmatrix}
\begin{pmatrix}\frac35\\\frac15\end{pmatrix} ¦ \frac{1}{6-1}\begin{pmatrix}3\\1\end{pmatrix}
\begin{pmatrix}\frac35\\\frac15\end{pmatrix} ¦ \frac15\begin{pmatrix}3\\2\end{pmatrix}
\begin{pmatrix}\frac35\\\frac15\end{pmatrix} ¦ \frac15\begin{pmatrix}3\\1\\0\end{pmatrix}
\begin{pmatrix}2&4\end{pmatrix} ¦ 2\begin{pmatrix}1&2\end{pmatrix}
\frac{x^2}{2}\ln x-\frac{x^2}{4}+C ¦ \frac{x^2}{2}\ln x-\frac{x^2}{4} ¦ \frac{x^2}{2}\ln x+\frac{x^2}{4}+C
\frac{x^2}{2}\ln x-\frac{x^2}{4}+C ¦ x\ln x+C ¦ \int x\ln x\,dx
2e^{2x}\cos x-e^{2x}\sin x ¦ 2e^{2x}\cos x ¦ e^{2x}(2\cos x+\sin x) ¦ (e^{2x}\cos x)' ¦ \frac{d}{dx}(e^{2x}\cos x)
y=C_1e^{2x}+C_2e^{-x} ¦ y=C_1e^{2x} ¦ y=e^{2x}+e^{-x} ¦ y=C_1e^{-2x}+C_2e^{x} ¦ y=C_1e^{2x}+C_1e^{-x}
\infty ¦ -\infty ¦ 0 ¦ \text{DNE} ¦ \infty-\infty ¦ 10^{100}
\text{DNE} ¦ 0 ¦ \infty ¦ \text{exists}
e^{-1} ¦ 0.368 ¦ e ¦ -e ¦ e^{1-2}
\frac{\sqrt{2}+\sqrt{6}}{4} ¦ \cos 15^\circ ¦ \frac{\sqrt8}{4} ¦ 0.966 ¦ \frac{\sqrt6-\sqrt2}{4}
\frac{\sqrt{2}+\sqrt{6}}{4} ¦ \sqrt{\frac{2+\sqrt3}{4}}+0.0001
\frac{2\pi}{3} ¦ 2.094 ¦ 120 ¦ \frac{\pi}{3} ¦ \pi-\frac{\pi}{3} ¦ \arccos(-\frac12)
\frac{2\pi}{3} ¦ \frac{2\pi}{3},\frac{4\pi}{3}
\frac{n(n+1)(2n+1)}{6} ¦ \sum_{k=1}^nk^2 ¦ \frac{n(n+1)}{2} ¦ \frac{n(n+1)(2n+1)}{3} ¦ \frac{n^3}{3}
3\cdot2^{n-1} ¦ 6^{n-1} ¦ 3\cdot2^n ¦ 3\cdot2n-1 ¦ 3\cdot2^{n}-1
x^2+(y-2)^2=4 ¦ x^2+(y+2)^2=4 ¦ x^2+(y-2)^2=2 ¦ x^2+(y-2)^2<4 ¦ x^2+(y-2)^2=2^2 ¦ x^2+(y-2)^2-4
2x+3y-z=5 ¦ 2x+3y-z=0 ¦ 2x+3y+z=5 ¦ (2,3,-1) ¦ 2x+3y-z
\lambda=2,5 ¦ 2 ¦ -2,-5 ¦ 10 ¦ \lambda^2-7\lambda+10=0 ¦ (2,5) ¦ 2,5,7
\langle 3,-1,2\rangle ¦ 3-1+2 ¦ (3,1,2) ¦ 3\mathbf{i}+\mathbf{j}+2\mathbf{k}
\langle 3,-1,2\rangle ¦ \langle1,2,3\rangle+\langle2,-3,-1\rangle ¦ \sqrt{14}
5e^{i\pi/4} ¦ 5 ¦ 5e^{\pi/4} ¦ 5e^{-i\pi/4} ¦ 5\cos\frac{\pi}{4} ¦ 5i
(1,3)\text{ and }(3,1) ¦ (1,3) ¦ (1,3),(3,1),(2,2) ¦ 1,3 ¦ (1,3),(1,3) ¦ (-1,-3),(-3,-1)
p\equiv 1\pmod{4} ¦ p\equiv3\pmod4 ¦ p\equiv1\pmod8 ¦ p=1 ¦ 4k+3 ¦ p\equiv 1
a>-1 ¦ a\ge-1 ¦ a<-1 ¦ a>1 ¦ a+1>0 ¦ a\ne-1 ¦ 2a>-2
2\sqrt[3]{4} ¦ 2\sqrt4 ¦ \sqrt[3]{8}\sqrt[3]{4} ¦ 3.175 ¦ 4\sqrt[3]{2} ¦ \sqrt[3]{4\cdot8}
\frac{1}{2}\log_2 3 ¦ 0.79 ¦ \log_2 3 ¦ \log_2\frac{3}{2} ¦ \log_2 6-1-\frac12\log_2 3 ¦ \frac12\log_3 2
7.5\times10^{-4} ¦ 7.5\times10^4 ¦ 75\times10^{-4} ¦ 7.5 ¦ 7.5\times(-4) ¦ \frac{7.5}{10^3}
75^\circ ¦ 105^\circ ¦ 75\text{ rad} ¦ 75^\circ,105^\circ ¦ 180^\circ-105^\circ ¦ 75\text{ cm}
9\frac{3}{5} ¦ 9\cdot\frac35 ¦ 9-\frac35 ¦ \frac{93}{5} ¦ 9.06 ¦ 9\frac{3}{5}\text{ or }9\frac25
\text{obtuse} ¦ \text{acute} ¦ \text{not obtuse} ¦ \text{acute or obtuse} ¦ \text{right}
\{1,2,4,8\} ¦ \{1,2,4\} ¦ \{1,2,4,8,16\} ¦ 15 ¦ 1\cdot2\cdot4\cdot8 ¦ \{2^0,2^1,2^2,2^3\} ¦ [1,8]
"""

# A question, its gold, then answers that are the question's own, or leave it as it is.
ECHOES = r"""
Factor $x^2-5x-14$. ¦ (x-7)(x+2) ¦ x^2-5x-14 ¦ x(x-5)-14 ¦ -(14+5x-x^2) ¦ (x^2-5x-14)(1) ¦ (x-2.5)^2-20.25
Expand $(2x+3)(x+5)$. ¦ 2x^2+13x+15 ¦ (2x+3)(x+5) ¦ (x+5)(2x+3) ¦ 2x(x+5)+3(x+5) ¦ \frac{(2x+3)(x+5)}{1}
Simplify $\sqrt{72}$. ¦ 6\sqrt{2} ¦ \sqrt{72} ¦ \sqrt{36}\sqrt{2} ¦ \sqrt{36\cdot2} ¦ 72^{1/2} ¦ 2\sqrt{18}
Simplify $\sqrt{72}$. ¦ 6\sqrt{2} ¦ 3\sqrt{8}
Evaluate $\log_3 81$. ¦ 4 ¦ \log_3 81 ¦ \frac{\ln 81}{\ln 3} ¦ \log_3 3^4
What is $0.125$ as a common fraction? ¦ \frac{1}{8} ¦ 0.125 ¦ .125
Compute $\binom{8}{3}$. ¦ 56 ¦ \binom{8}{3} ¦ \frac{8!}{3!5!} ¦ \frac{8\cdot7\cdot6}{6}
Solve $3x-7>2$. ¦ x>3 ¦ 3x-7>2 ¦ 3x>9 ¦ x-3>0
Find the roots of $x^2-2x-4=0$. ¦ 1\pm\sqrt{5} ¦ x^2-2x-4=0 ¦ \frac{2\pm\sqrt{4+16}}{2} ¦ (x-1)^2=5
Factor completely: $9x^2+3x$. ¦ 3x(3x+1) ¦ 9x^2+3x ¦ x(9x+3) ¦ 3(3x^2+x) ¦ 9x(x+\frac13)
Simplify $\frac{12}{18}$. ¦ \frac{2}{3} ¦ \frac{12}{18} ¦ \frac{6}{9} ¦ 12/18
Express $\frac{9}{4}$ as a decimal. ¦ 2.25 ¦ \frac{9}{4} ¦ 9/4
Compute $7^3$. ¦ 343 ¦ 7^3 ¦ 7\cdot7\cdot7 ¦ 7^2\cdot7 ¦ 49\cdot7
Rationalize the denominator of $\frac{6}{\sqrt{3}}$. ¦ 2\sqrt{3} ¦ \frac{6}{\sqrt3} ¦ \frac{6\sqrt3}{3}
Rationalize the denominator of $\frac{6}{\sqrt{3}}$. ¦ 2\sqrt{3} ¦ \frac{2\cdot3}{\sqrt3}
Find $\gcd(84,36)$. ¦ 12 ¦ \gcd(84,36) ¦ \gcd(36,84) ¦ \gcd(12,24)
Solve $x^2-9=0$. ¦ \pm3 ¦ x^2=9 ¦ x=\pm\sqrt9 ¦ (x-3)(x+3)=0 ¦ |x|=3
If $x+y=12$ and $xy=35$, what is the larger of them? ¦ 7 ¦ x+y=12 ¦ xy=35 ¦ 12-5
Simplify $\frac{24}{36}$. ¦ \frac23 ¦ \frac{24}{36} ¦ \frac{12}{18} ¦ \frac{4}{6} ¦ \frac{24}{36}=\frac{12}{18}
Simplify $\sqrt{48}+\sqrt{27}$. ¦ 7\sqrt3 ¦ \sqrt{48}+\sqrt{27} ¦ 4\sqrt3+3\sqrt3 ¦ \sqrt{147}
Simplify $\sqrt{48}+\sqrt{27}$. ¦ 7\sqrt3 ¦ \sqrt{3}\cdot\sqrt{49}
Factor $4x^2-16$. ¦ 4(x-2)(x+2) ¦ 4x^2-16 ¦ 4(x^2-4) ¦ (2x-4)(2x+4)\cdot 2 ¦ (4x-8)(x+3)
"""

# A question, its gold, then right answers.
NO_ECHOES = r"""
Simplify $\frac{24}{36}$. ¦ \frac23 ¦ \frac{2}{3} ¦ 2/3 ¦ \frac{-2}{-3}
Simplify $\sqrt{72}$. ¦ 6\sqrt2 ¦ 6\sqrt{2} ¦ \sqrt2\cdot6
Simplify $\frac{x^2-1}{2x-2}$. ¦ \frac{x+1}{2} ¦ \frac12(x+1) ¦ \frac{x}{2}+\frac12 ¦ 0.5(x+1)
Factor $4x^2-16$. ¦ 4(x-2)(x+2) ¦ 4(x+2)(x-2) ¦ 4(2+x)(x-2)
Factor $x^2-\frac14$. ¦ (x-\frac12)(x+\frac12) ¦ (x+\frac12)(x-\frac12) ¦ (x-0.5)(x+0.5)
Factor $6x^2+9x$. ¦ 3x(2x+3) ¦ 3x(3+2x) ¦ x\cdot3(2x+3)
Express in simplest form: $\frac{10\pi}{4}$. ¦ \frac{5\pi}{2} ¦ 2.5\pi ¦ \frac52\pi
"""

# A gold, a completion, its score
COMPLETIONS = [
    ("17", "So the total is 17 apples.\n\n**Final Answer:** $\\boxed{17}$", 1.0),
    ("17", "Therefore, Janet makes **\\$17** every day.\n\n\\[ \\boxed{17} \\]", 1.0),
    ("72", "<think>\n48/2=24, 48+24=72\n</think>\n\nNatalia sold $\\boxed{72}$ clips.", 1.0),
    ("72", "### Solution\n1. 48/2 = 24\n2. 48+24 = 72\n\n#### 72", 1.0),
    ("72", "The final answer is: $\\boxed{72\\text{ clips}}$. I hope it is correct.", 1.0),
    ("\\frac{3}{4}", "$$\\boxed{\\dfrac{3}{4}}$$", 1.0),
    (
        "\\frac{3}{4}",
        "Final Answer: The final answer is $\\frac{3}{4}$. I hope it is correct.\n\nAnswer: $\\frac{3}{4}$",
        1.0,
    ),
    (
        "\\frac{3}{4}",
        "<think>Let me see. Try \\boxed{1/2}? no.</think>The probability is \\(\\boxed{\\frac{3}{4}}\\).",
        1.0,
    ),
    ("\\frac{3}{4}", "<think>\nok\n</think>\n<answer>\n$\\frac{3}{4}$\n</answer>", 1.0),
    ("\\frac{3}{4}", "<think>ok</think><answer>The probability is \\boxed{\\frac{3}{4}}.</answer>", 1.0),
    ("(2,3)", "Thus $(x,y)=\\boxed{(2,3)}$.", 1.0),
    ("(2,3)", "Hence $x=\\boxed{2}$ and $y=\\boxed{3}$.", 1.0),
    ("-1,4", "The solutions are $\\boxed{-1}$ and $\\boxed{4}$.", 1.0),
    ("-1,4", "So $x=-1$ or $x=4$.\n\n$$\\boxed{x=-1 \\text{ or } x=4}$$", 1.0),
    ("5", "$\\boxed{5}$\n\nLet me double-check: 2*5+1 = 11. Yes, the answer is $\\boxed{5}$.", 1.0),
    ("5", "$\\boxed{5}$. So the answer is **$\\boxed{5.0}$**.", 1.0),
    ("\\text{(C)}", "The correct option is $\\boxed{\\textbf{(C) } 18}$.", 1.0),
    ("\\text{(C)}", "Answer: C", 1.0),
    ("\\text{(C)}", "**Answer: (C)**", 1.0),
    ("540", "**Answer:** $540$ meters", 1.0),
    ("540", "<answer>540 meters</answer>", 1.0),
    ("540", "\\boxed{540 \\text{ meters per week}}", 1.0),
    ("x^2+1", "$f(x)=\\boxed{x^2+1}$", 1.0),
    ("x^2+1", "\\[\\boxed{f(x) = x^2 + 1}\\]", 1.0),
    ("\\frac{1}{2}", "$\\boxed{\\frac{1}{2}}$ or $0.5$", 1.0),
    ("\\frac{1}{2}", "The answer is $\\boxed{\\frac{1}{2} = 0.5}$.", 1.0),
    ("\\frac{1}{2}", "The answer is $\\boxed{\\frac{1}{2} = 50\\%}$.", 1.0),
    ("2\\sqrt{3}", "The length is $\\boxed{2\\sqrt{3}\\text{ units}}$", 1.0),
    ("2\\sqrt{3}", "$\\boxed{AB = 2\\sqrt{3}}$", 1.0),
    ("2\\sqrt{3}", "$\\boxed{|\\vec{a}+\\vec{b}| = 2\\sqrt{3}}$", 1.0),
    ("12", "\\boxed{x+y=12}", 1.0),
    ("12", "\\boxed{a+b+c = 12}", 1.0),
    ("12", "\\boxed{m+n = 12}", 1.0),
    ("12", "$\\boxed{\\text{The answer is } 12}$", 1.0),
    ("12", "$\\boxed{12 \\text{ (minutes)}}$", 1.0),
    ("12", "$\\boxed{12\\; \\text{students}}$", 1.0),
    ("12", "$\\boxed{N=12}$", 1.0),
    ("12", "\\boxed{\\textbf{12}}", 1.0),
    ("12", "$\\boxed{\\mathbf{12}}$", 1.0),
    ("12", "\\boxed{012}", 1.0),
    ("17", "The answer is either $\\boxed{17}$ or $\\boxed{18}$.", 0.0),
    ("17", "\\boxed{17} \\boxed{18} \\boxed{19}", 0.0),
    ("17", "<answer>17</answer><answer>18</answer>", 0.0),
    ("17", "The answer is 17.", 0.0),
    ("17", "\\boxed{} 17", 0.0),
    ("17", "<think>\\boxed{17}", 0.0),
    ("17", "<think>\\boxed{17}</think> I am not sure.", 0.0),
    ("17", "\\boxed{17", 0.0),
    ("17", "Answer: 17 or 18", 0.0),
    ("17", "#### 17\n#### 18", 0.0),
    ("17", "\\boxed{\\text{the answer}}17", 0.0),
    ("17", "\\boxed{17\\color{white}{18}} and \\boxed{18}", 0.0),
    ("17", "\\boxed{x=17\\lor x=18}", 0.0),
    ("17", "$\\boxed{17}$ is wrong; the answer is $\\boxed{16}$.", 0.0),
    ("17", "\\boxed{17 \\text{ is not the answer}}", 0.0),
    ("\\text{(C)}", "\\boxed{A, B, C}", 0.0),
    ("\\text{(C)}", "Answer: (A) or (C)", 0.0),
    ("\\text{(C)}", "\\boxed{\\text{(A) } 3} \\boxed{\\text{(C) } 4}", 0.0),
    ("(2,3)", "$\\boxed{3}, \\boxed{2}$", 0.0),
    ("-1,4", "\\boxed{-1} \\boxed{4} \\boxed{5}", 0.0),
    ("624", "**Step 1:** ...\n**Step 2:** ...\n\nTherefore, the weight is $\\boxed{624}$ pounds.", 1.0),
    ("624", "\\[\\boxed{624 \\text{ pounds}}\\]", 1.0),
    ("624", "The answer is: \\boxed{624}", 1.0),
    ("624", "<answer>$624$</answer>", 1.0),
    ("624", "<answer>\n624 pounds\n</answer>", 1.0),
    ("624", "$\\boxed{\\text{Weight}=624}$", 1.0),
    ("\\frac{5}{12}", "Thus $P = \\frac{10}{24} = \\boxed{\\frac{5}{12}}$.", 1.0),
    ("\\frac{5}{12}", "$\\boxed{\\frac{10}{24}=\\frac{5}{12}}$", 1.0),
    ("(3,4)", "The solution is $\\boxed{x=3,\\ y=4}$.", 1.0),
    ("(3,4)", "$\\boxed{(x, y) = (3, 4)}$", 1.0),
    ("624", "\\boxed{624} or \\boxed{625}", 0.0),
    ("624", "The result could be $624$ or \\boxed{625}.", 0.0),
    ("624", "\\boxed{624, 625}", 0.0),
    ("624", "<answer>624 or 625</answer>", 0.0),
    ("624", "<answer>\\boxed{624}\\boxed{625}</answer>", 0.0),
    ("624", "#### 624 625", 0.0),
    ("624", "\\boxed{6}\\boxed{2}\\boxed{4}", 0.0),
    ("624", "\\boxed{\\boxed{625}}", 0.0),
    ("624", "Answer: 624?", 0.0),
    ("624", "\\boxed{\\text{any number such as }624}", 0.0),
    ("\\frac{5}{12}", "\\boxed{5}/\\boxed{12}", 0.0),
    ("\\frac{5}{12}", "\\boxed{\\frac{5}{12} \\text{ or } \\frac{7}{12}}", 0.0),
]


@pytest.mark.every(2)
@pytest.mark.parametrize(("gold", "answer"), lines(FAIR))
def test_pays_fair_form(gold, answer):
    assert score(box(answer), solution=gold)[:2] == (1.0, "correct")


@pytest.mark.every(2)
@pytest.mark.parametrize(("gold", "answer"), lines(ATTACKS))
def test_does_not_pay_attack(gold, answer):
    assert score(box(answer), solution=gold).value == 0.0


@pytest.mark.parametrize(("question", "gold", "answer"), lines(ECHOES, 2))
def test_question_in_another_form_is_no_answer(question, gold, answer):
    assert score(box(answer), solution=gold, prompt=question).value == 0.0
    assert score(box(gold), solution=gold, prompt=question).value == 1.0


@pytest.mark.parametrize(("question", "gold", "answer"), lines(NO_ECHOES, 2))
def test_answer_in_the_form_that_is_asked_for_is_paid(question, gold, answer):
    assert score(box(answer), solution=gold, prompt=question).value == 1.0


@pytest.mark.parametrize(("gold", "completion", "value"), COMPLETIONS)
def test_scores_a_completion(gold, completion, value):
    assert score(completion, solution=gold).value == value
